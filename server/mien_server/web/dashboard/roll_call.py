"""Who is there, while the history that keeps it cannot be asked.

Enters: the roll, what the SuperLink says of every key, and how the sites stood last. Leaves: how they stand.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mien_common.errors import MienError
from mien_server.facts import SiteFacts
from mien_server.folder import ServerFolder
from mien_server.history.presence import Node, Standing, standings
from mien_server.history.reader import iso
from mien_server.membership.roll import read_roll
from mien_server.membership.standing import nodes_now

AGAIN_S: Final = 2.0
"""How often the SuperLink is asked, as by the recorder."""


class RollCall:
    """Calls the roll; may be used from several threads.

    Parameters
    ----------
    nodes_of : asks the SuperLink; None where it does not answer, and then every site stays as it was.
    """

    def __init__(
        self,
        folder: ServerFolder,
        nodes_of: Callable[[ServerFolder], Mapping[bytes, Node] | None] = nodes_now,
    ) -> None:
        self._folder, self._nodes_of = folder, nodes_of
        self._calling = threading.Lock()
        self._nodes: Sequence[Node] | None = None
        self._next = 0.0

    def sites(self, last: Sequence[SiteFacts], now: dt.datetime) -> tuple[SiteFacts, ...]:
        """As they stand now; ``last``, what else is known of them."""
        known = {site.name: site for site in last}
        before = {
            site.name: Standing(
                site.presence,
                dt.datetime.fromisoformat(site.last_seen) if site.last_seen else None,
                site.fingerprint,
            )
            for site in last
        }
        try:
            found = standings(read_roll(self._folder), self._ask(), before, (), now)
        except MienError:
            return tuple(last)
        return tuple(
            known.get(name, _stranger(name)).model_copy(
                update={
                    "presence": standing.presence,
                    "last_seen": standing.last_seen and iso(standing.last_seen),
                    "fingerprint": standing.fingerprint,
                }
            )
            for name, standing in sorted(found.items())
        )

    def _ask(self) -> Sequence[Node] | None:
        with self._calling:
            if time.monotonic() >= self._next:
                try:
                    nodes = self._nodes_of(self._folder)
                except (MienError, OSError):
                    nodes = None
                self._nodes = None if nodes is None else list(nodes.values())
                self._next = time.monotonic() + AGAIN_S
            return self._nodes


def _stranger(name: str) -> SiteFacts:
    """A site of which the history has not told yet."""
    unknown = dict.fromkeys(SiteFacts.model_fields)
    return SiteFacts.model_validate(
        {**unknown, "name": name, "presence": "never seen", "frames_in_all": 0, "error": ""}
    )
