"""Followers of the journals: every event in order, and one that is slow or fails holds up nobody else."""

import datetime as dt
import threading
import time
from collections import Counter

import pytest
from sqlalchemy import URL

from mien_common.errors import FederationError
from mien_server.folder import ServerFolder
from mien_server.history import followers
from mien_server.history.followers import Follower
from mien_server.history.reader import History
from mien_server.runs.journal import Event

from ...waiting import wait_until
from .made_history import add_round, begin_run
from .recording import recording

RUN = "2026-11-23-001"
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


class Listener:
    """Remembers what it was handed."""

    def __init__(self, name: str = "listener") -> None:
        self.name = name
        self.heard: list[tuple[str, str, int | None]] = []
        self.fails = threading.Event()
        self.holds = threading.Event()
        self.closed = 0

    def take(self, folder: ServerFolder, run: str, event: Event) -> None:  # noqa: ARG002
        if self.fails.is_set():
            raise FederationError("the other side is away")
        while self.holds.is_set():
            time.sleep(0.01)
        self.heard.append((run, event["event"], event.get("round")))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "LOOK_S", 0.01)
    monkeypatch.setattr(followers, "PATIENCE_S", (0.01, 0.05))


def follow(monkeypatch: pytest.MonkeyPatch, *listeners: Follower) -> None:
    monkeypatch.setattr("mien_server.history.recorder.wanted_followers", lambda _: list(listeners))


def rounds(count: int) -> list[tuple[str, str, int | None]]:
    found: list[tuple[str, str, int | None]] = [(RUN, "started", None)]
    for round_ in range(1, count + 1):
        found += [(RUN, "round_started", round_), (RUN, "round", round_)]
    return found


def test_everything_once_and_in_order_over_restarts(
    folder: ServerFolder, url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    follow(monkeypatch, listener)
    journal = begin_run(folder, RUN, 9, NOW)
    for start in (1, 4):
        with recording(folder):
            for round_ in range(start, start + 3):
                add_round(folder, journal, round_, 9, NOW)
            wait_until(lambda last=start + 2: listener.heard[-1:] == [(RUN, "round", last)])  # type: ignore[misc]
    assert listener.heard == rounds(6)
    assert listener.closed == 2
    journal.close()


def test_one_that_fails_is_said_once_and_tried_again(
    folder: ServerFolder, url: URL, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = Listener("failing"), Listener("other")
    failing.fails.set()
    follow(monkeypatch, failing, other)
    journal = begin_run(folder, RUN, 9, NOW)
    with recording(folder):
        add_round(folder, journal, 1, 9, NOW)
        wait_until(lambda: len(other.heard) == 3)
        wait_until(lambda: "follower_waits" in caplog.text)
        add_round(folder, journal, 2, 9, NOW)
        wait_until(lambda: len(other.heard) == 5)
        assert failing.heard == []
        failing.fails.clear()
        wait_until(lambda: len(failing.heard) == 5)
    assert failing.heard == other.heard == rounds(2)
    assert caplog.text.count("event=follower_waits") == 1
    journal.close()


def test_one_that_hangs_holds_up_neither_the_history_nor_the_end(
    folder: ServerFolder, url: URL, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Listener("hanging")
    hanging.holds.set()
    follow(monkeypatch, hanging)
    journal = begin_run(folder, RUN, 9, NOW)
    with recording(folder) as recorder:
        add_round(folder, journal, 1, 9, NOW)
        wait_until(lambda: (folder.state / "history.db").exists() or url.get_backend_name() != "sqlite")
        wait_until(lambda: _rounds(history) == 1)
        recorder.stop()
    hanging.holds.clear()
    wait_until(lambda: hanging.closed == 1)
    journal.close()


def _rounds(history: History) -> int:
    from mien_common.errors import StorageError

    try:
        return len(history.rounds(RUN))
    except StorageError:
        return 0


def test_a_journal_that_was_cut_is_followed_from_its_beginning(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    follow(monkeypatch, listener)
    journal = begin_run(folder, RUN, 9, NOW)
    add_round(folder, journal, 1, 9, NOW)
    with recording(folder):
        wait_until(lambda: len(listener.heard) == 3)
        path = folder.runs / RUN / "rounds.jsonl"
        first = path.read_bytes().split(b"\n")[0]
        path.write_bytes(first + b"\n")
        wait_until(lambda: len(listener.heard) == 4)
    assert Counter(listener.heard)[RUN, "started", None] == 2
    journal.close()
