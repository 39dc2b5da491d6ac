"""Refusals become events: at once, then together, and never who it was."""

import json
import threading
import time
from typing import Any

from mien_server.folder import ServerFolder
from mien_server.server_events import events_file
from mien_server.web.refusals import Refusals

SOON_S = 20.0


def refused(folder: ServerFolder) -> list[dict[str, Any]]:
    file = events_file(folder)
    found = [dict(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    for event in found:
        event.pop("time")
    return found


def wait_for_lines(folder: ServerFolder, wanted: int) -> None:
    end = time.monotonic() + SOON_S
    while len(refused(folder)) < wanted:
        assert time.monotonic() < end, refused(folder)
        time.sleep(0.01)


def test_the_first_is_recorded_at_once_and_a_flood_after_it_in_one_line(folder: ServerFolder) -> None:
    refusals = Refusals(folder, "enrolment", window_s=0.5)
    refusals.count()
    wait_for_lines(folder, 1)

    def knock() -> None:
        for _ in range(50):
            refusals.count()

    flood = [threading.Thread(target=knock) for _ in range(4)]
    for caller in flood:
        caller.start()
    for caller in flood:
        caller.join()
    wait_for_lines(folder, 2)
    assert refused(folder) == [
        {"event": "refused", "how": "enrolment", "count": 1},
        {"event": "refused", "how": "enrolment", "count": 200},
    ]


def test_what_was_counted_is_recorded_at_the_end(folder: ServerFolder) -> None:
    refusals = Refusals(folder, "login", window_s=600)
    refusals.count()
    wait_for_lines(folder, 1)
    refusals.count()
    refusals.count()
    refusals.flush()
    refusals.flush()
    assert [event["count"] for event in refused(folder)] == [1, 2]
