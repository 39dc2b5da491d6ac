"""Which of the sites that are online a round asks to train.

Enters: who is there. Leaves: a part of them, the same for the same seed, round and sites. Every site has its
place in a round's order by itself: one that comes or goes changes nothing in the order of the others.
"""

import hashlib
from collections.abc import Mapping

from mien_server.runs.settings import RunSettings, share_of


def sampled(sites: Mapping[int, str], settings: RunSettings, round_: int, attempt: int) -> dict[int, str]:
    """The settings' fraction of ``sites`` (name by node id), at least the quorum; all where that is more.

    Parameters
    ----------
    attempt : counted over all tries of this round: a sample that stayed below the quorum is not asked again.
    """
    count = max(share_of(len(sites), settings.fraction), settings.quorum)

    def place(node: int) -> tuple[bytes, str]:
        key = f"{settings.seed}/{round_}/{attempt}/{sites[node]}"
        return hashlib.sha256(key.encode()).digest(), sites[node]

    return {node: sites[node] for node in sorted(sites, key=place)[:count]}
