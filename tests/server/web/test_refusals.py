"""Refusals become events: at once, then together, and never who it was."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from mien_server.folder import ServerFolder
from mien_server.server_events import events_file
from mien_server.web.refusals import Refusals

SOON_S = 60.0


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


class Bell:
    """In the place of a timer: it rings when the test says so."""

    all: ClassVar[list["Bell"]] = []

    def __init__(self, delay_s: float, ring: Callable[[], None]) -> None:
        self.delay_s, self.ring = delay_s, ring

    def start(self) -> None:
        self.all.append(self)

    def cancel(self) -> None:
        """It rings no more than once anyway."""


def test_the_first_is_recorded_at_once_and_a_flood_after_it_in_one_line(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien_server.web.refusals.threading.Timer", Bell)
    monkeypatch.setattr(Bell, "all", [])
    refusals = Refusals(folder, "enrolment", window_s=600)
    refusals.count()
    (first,) = Bell.all
    assert first.delay_s == 0
    first.ring()

    def knock() -> None:
        for _ in range(50):
            refusals.count()

    flood = [threading.Thread(target=knock) for _ in range(4)]
    for caller in flood:
        caller.start()
    for caller in flood:
        caller.join()
    (_, second) = Bell.all
    assert 500 < second.delay_s <= 600
    second.ring()
    assert refused(folder) == [
        {"event": "refused", "how": "enrolment", "count": 1},
        {"event": "refused", "how": "enrolment", "count": 200},
    ]


def test_a_window_ends_by_itself(folder: ServerFolder) -> None:
    refusals = Refusals(folder, "enrolment", window_s=0.2)
    for line in (1, 2, 3):
        refusals.count()
        wait_for_lines(folder, line)
    assert [event["count"] for event in refused(folder)] == [1, 1, 1]


def test_what_was_counted_is_recorded_at_the_end(folder: ServerFolder) -> None:
    refusals = Refusals(folder, "login", window_s=600)
    refusals.count()
    wait_for_lines(folder, 1)
    refusals.count()
    refusals.count()
    refusals.flush()
    refusals.flush()
    assert [event["count"] for event in refused(folder)] == [1, 2]
