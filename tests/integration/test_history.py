"""The history of a real server: nothing doubled or lost as its processes die and it is started again."""

import json
import os
import signal
import time
from collections.abc import Callable

from mien_lab.federation import Federation
from mien_server.control import Control
from mien_server.folder import ServerFolder, open_folder
from mien_server.history.database import open_history
from mien_server.history.reader import History

from ..waiting import wait_until

Make = Callable[[int], Federation]


def pid(folder: ServerFolder, name: str) -> int:
    return int(json.loads((folder.state / "pids.json").read_text())[name])


def kill(folder: ServerFolder, name: str) -> None:
    """End one of the server's processes; back when another has taken its place."""
    killed = pid(folder, name)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: pid(folder, name) != killed, f"{name} was not started again")


def comings_and_goings(history: History) -> list[tuple[str, str | None]]:
    events = history.events(after=0, kinds=("joined", "left"))
    return sorted((event.kind, event.site) for event in events)


def test_nobody_leaves_with_a_superlink_and_nothing_is_told_twice(make_federation: Make) -> None:
    federation = make_federation(2)
    with federation:
        federation.up()
        federation.join(["lab-1", "lab-2"])
        folder = open_folder(federation.server)
        history = open_history(folder)
        both = [("joined", "lab-1"), ("joined", "lab-2")]
        wait_until(lambda: comings_and_goings(history) == both, "the sites did not join")
        assert list(federation.run("--rounds", 1))[-1]["event"] == "finished"
        wait_until(
            lambda: [run.state for run in history.runs()] == ["finished"], "the run is not in the history"
        )

        kill(folder, "recorder")
        kill(folder, "superlink")
        began = time.time()
        with Control(folder) as control:
            wait_until(lambda: _all_are_back(control, began), "the sites did not come back")
        told = history.seen()
        assert told is not None
        wait_until(lambda: (history.seen() or told) > told, "the recorder did not come back")
        assert comings_and_goings(history) == both

        os.kill(federation.pid("server"), signal.SIGTERM)
        wait_until(lambda: not (folder.state / "pids.json").exists(), "the server did not end")
        kinds = [event.kind for event in history.events(after=0) if event.kind not in ("late", "waiting")]
        assert kinds[-1] == "server_stopped"
        assert {kind: kinds.count(kind) for kind in kinds} == {
            **{"enrolled": 2, "server_started": 1, "server_stopped": 1, "joined": 2},
            **{"queued": 1, "started": 1, "round": 1, "finished": 1},
        }
        assert [part.site for part in history.site_rounds(history.runs()[0].run)] == ["lab-1", "lab-2"]
        history.close()


def _all_are_back(control: Control, since: float) -> bool:
    try:
        nodes = control.nodes()
    except Exception:  # noqa: BLE001 - it is being started
        return False
    back = [node for node in nodes if node.online and node.last_seen and node.last_seen.timestamp() > since]
    return len(back) == 2
