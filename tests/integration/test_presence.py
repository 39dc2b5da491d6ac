"""How soon the server notices that a site is gone: late, then offline.

``pytest -o log_cli=true -o log_cli_level=INFO`` shows the seconds.
"""

import logging
import os
import signal
import time
from collections.abc import Callable

from mien_lab.federation import Federation
from mien_server.control import Control, NodeStanding
from mien_server.folder import open_folder
from mien_server.membership.enrolment import read_sites

Make = Callable[[int], Federation]

SILENT_S = 10.0
"""What an agent announces as its longest pause; it beats every 4 s, and is given up after twice this."""
LOOK_S = 1.0
"""Of slack, for a machine that is busy."""

log = logging.getLogger(__name__)


def word(node: NodeStanding) -> str:
    return "late" if node.late else "online" if node.online else "offline"


def test_a_killed_site_is_late_then_offline_and_one_that_leaves_is_offline_at_once(
    make_federation: Make,
) -> None:
    federation = make_federation(3)
    with federation:
        federation.up()
        federation.join(["lab-1", "lab-2", "lab-3"])
        folder = open_folder(federation.server)
        names = {site.node_id: site.name for site in read_sites(folder)}
        gone: dict[str, float] = {}
        told: dict[str, dict[str, float]] = {name: {} for name in names.values()}
        with Control(folder) as control:
            assert {word(node) for node in control.nodes()} == {"online"}
            for name, number in (
                ("lab-1", signal.SIGKILL),
                ("lab-2", signal.SIGKILL),
                ("lab-3", signal.SIGINT),
            ):
                os.kill(federation.pid(name), number)
                gone[name] = time.monotonic()
                time.sleep(1.3)  # at another moment between two beats
            end = time.monotonic() + 2 * SILENT_S + 10
            while not all("offline" in words for words in told.values()):
                assert time.monotonic() < end, told
                for node in control.nodes():
                    name = names[node.node_id]
                    told[name].setdefault(word(node), time.monotonic() - gone[name])
                time.sleep(0.1)
    for name, words in told.items():
        log.info("%s %s", name, ", ".join(f"{word} after {after:.1f} s" for word, after in words.items()))
    for name in ("lab-1", "lab-2"):
        assert 6 - LOOK_S < told[name]["late"] < SILENT_S + LOOK_S
        assert 16 - LOOK_S < told[name]["offline"] < 2 * SILENT_S + LOOK_S
    assert "late" not in told["lab-3"]
