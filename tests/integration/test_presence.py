"""How soon the server notices that a site is gone: late, then offline.

``pytest -o log_cli=true -o log_cli_level=INFO`` shows the seconds.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from mien_lab.federation import Federation
from mien_server.control import Control, NodeStanding
from mien_server.folder import open_folder
from mien_server.membership.enrolment import read_sites

Make = Callable[[int], Federation]

SILENT_S = 10.0
"""What an agent announces as its longest pause; it is given up after twice this."""
BEAT_S = 4.0
BUSY_S = 1.0
"""By which a beat may be off on a machine that is busy; with it, still none is late that lives."""
CLOCK_S = 0.05
"""To which a time that was sent as text is the time that was meant."""
PATIENCE_S = 120.0
KILLS = (("lab-1", signal.SIGKILL), ("lab-2", signal.SIGKILL), ("lab-3", signal.SIGINT))
APART_S = 1.3
"""So that each is killed at another moment between two beats."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """What the server said of a site, some time between two moments of this machine's clock."""

    word: str
    asked: float
    answered: float
    last_seen: float


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
        told: dict[str, list[Told]] = {name: [] for name in names.values()}
        with Control(folder) as control:
            assert {word(node) for node in control.nodes()} == {"online"}
            began = time.monotonic()
            while not all(said and said[-1].word == "offline" for said in told.values()):
                waited = time.monotonic() - began
                assert waited < PATIENCE_S, told
                for number, (name, signal_) in enumerate(KILLS):
                    if name not in gone and waited >= APART_S * number:
                        os.kill(federation.pid(name), signal_)
                        gone[name] = time.time()
                asked = time.time()
                for node in control.nodes():
                    assert node.last_seen is not None
                    found = Told(word(node), asked, time.time(), node.last_seen.timestamp())
                    told[names[node.node_id]].append(found)
                time.sleep(0.1)
    for name, said in told.items():
        firsts = {each.word: each.answered - gone[name] for each in reversed(said)}
        log.info("%s %s", name, ", ".join(f"{word} after {after:.1f} s" for word, after in firsts.items()))
    for name in ("lab-1", "lab-2"):
        words = [each.word for each in told[name]]
        assert words == sorted(words, key=["online", "late", "offline"].index)
        assert {"late", "offline"} < set(words)
        last_beat = max(each.last_seen for each in told[name] if each.word != "offline")
        assert gone[name] - BEAT_S - BUSY_S < last_beat < gone[name] + BUSY_S
        for each in told[name]:
            check(each, last_beat)
    assert "late" not in {each.word for each in told["lab-3"]}


def check(told: Told, last_beat: float) -> None:
    """Whatever a busy machine takes for question and answer: the word was right at a moment between them."""
    earliest, latest = told.asked - last_beat - CLOCK_S, told.answered - last_beat + CLOCK_S
    if told.word == "online":
        assert earliest <= SILENT_S
    elif told.word == "late":
        assert latest > SILENT_S
        assert earliest <= 2 * SILENT_S
    else:
        assert latest > 2 * SILENT_S
