"""The recorder: every event exactly once, whatever is killed, away, cut or damaged meanwhile."""

import datetime as dt
import logging
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from sqlalchemy import URL

from mien_common.errors import StorageError
from mien_server.folder import DATABASE_VARIABLE, ServerFolder
from mien_server.history import connection, recorder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.history.revisions import prepare
from mien_server.runs.journal import Journal
from mien_server.server_events import record_event
from mien_server.up import RECORDER_PATIENCE_S

from ...waiting import wait_until
from .made_history import add_round, begin_run, event
from .postgres import PASSWORD, Cluster
from .recording import check_whole, has_runs, is_whole, recording

RUN = "2026-11-23-001"
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def write_rounds(folder: ServerFolder, journal: Journal, first: int, last: int) -> None:
    for round_ in range(first, last + 1):
        failed = {"lab-2": "no answer within 600 s"} if round_ % 3 == 0 else {}
        add_round(folder, journal, round_, 100, NOW + dt.timedelta(minutes=round_), failed)


def test_what_is_written_is_seen_at_once(folder: ServerFolder, url: URL, history: History) -> None:
    journal = begin_run(folder, RUN, 100, NOW)
    with recording(folder, look_s=0.25):  # its own pace
        wait_until(lambda: has_runs(history))
        seconds = []
        for round_ in range(1, 6):  # each comes right after a look, and has to wait for the next one
            write_rounds(folder, journal, round_, round_)
            written = time.monotonic()
            wait_until(lambda last=round_: len(history.rounds(RUN)) == last)  # type: ignore[misc]
            seconds.append(time.monotonic() - written)
        assert statistics.median(seconds) < 2, seconds  # 0.3 s on an idle machine
        assert history.runs()[0].state == "running"
        journal.add(event("finished", NOW, run=RUN, rounds=100))
        journal.close()
        wait_until(lambda: history.runs()[0].state == "finished")
    check_whole(folder, history)


KILLED = """
import os, sys, signal
from itertools import count
from pathlib import Path
import mien_server.control
from sqlalchemy import Engine, event
from mien_server.folder import open_folder
from mien_server.history.recorder import Recorder

folder = open_folder(Path(sys.argv[1]))
for last in map(int, sys.argv[2:]):
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_REAL, 0.7)  # at the latest: SIGALRM kills, too
        moments = count(1)
        def moment(*_):
            if next(moments) == last:
                os.kill(os.getpid(), signal.SIGKILL)
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(Engine, name, moment)
        Recorder(folder, look_s=0.01).run()
    os.waitpid(child, 0)
"""
"""Recorders, one after the other, each killed before or after a statement or a commit."""


def test_killed_at_any_moment_every_event_is_there_once(
    folder: ServerFolder, url: URL, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a slow disk must not keep rounds from being written
    rng = random.Random(23)  # noqa: S311 - the same moments every time
    moments = [str(rng.randint(10, 70)) for _ in range(14)]
    journals = [begin_run(folder, f"2026-11-23-00{number}", 10_000, NOW) for number in (1, 2)]
    killed = subprocess.Popen([sys.executable, "-c", KILLED, str(folder.path), *moments])
    round_ = 0
    while killed.poll() is None:
        round_ += 1
        for journal in journals:
            write_rounds(folder, journal, round_, round_)
        record_event(folder, "refused", how="login", count=round_)
        time.sleep(0.06)
    assert killed.returncode == 0
    assert round_ > 10
    with recording(folder):
        wait_until(lambda: is_whole(folder, history))
    check_whole(folder, history)
    for journal in journals:
        journal.close()


def test_the_process_shows_readers_what_is_new_and_ends_with_everything_taken_up(
    folder: ServerFolder, url: URL, history: History
) -> None:
    """Readers of another process come and go, and its several connections hold their locks meanwhile."""
    journal = begin_run(folder, RUN, 100, NOW)
    process = subprocess.Popen([sys.executable, "-m", "mien_server.history.recorder", str(folder.path)])
    try:
        wait_until(lambda: has_runs(history))
        for round_ in range(1, 6):
            write_rounds(folder, journal, round_, round_)
            wait_until(lambda last=round_: len(history.rounds(RUN)) == last)  # type: ignore[misc]
        write_rounds(folder, journal, 6, 9)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait(60) == 0
        # It is killed after a while, and would lose nothing.
        assert time.monotonic() - asked < RECORDER_PATIENCE_S
    finally:
        process.kill()
        process.wait()
    check_whole(folder, history)
    journal.close()


def test_a_postgresql_that_is_restarted_is_caught_up_with(
    folder: ServerFolder,
    postgres: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, postgres.new_database())
    history = History(history_url(folder))
    journal = begin_run(folder, RUN, 100, NOW)
    with recording(folder):
        wait_until(lambda: has_runs(history))
        for first in (1, 11):
            before = _waits(caplog)
            postgres.stop()
            write_rounds(folder, journal, first, first + 5)
            wait_until(lambda waits=before: _waits(caplog) > waits)  # type: ignore[misc]
            with pytest.raises(StorageError, match="Does PostgreSQL run"):
                history.runs()
            postgres.start()
            write_rounds(folder, journal, first + 6, first + 9)
            wait_until(lambda: is_whole(folder, history))
    check_whole(folder, history)
    assert "sesame" not in caplog.text
    said = [record.getMessage() for record in caplog.records if "event=history_waits" in record.getMessage()]
    own = [line for line in said if "starting up" not in line]  # PostgreSQL's own third word in an outage
    assert len(own) <= 4, "once an outage (and once more where it goes on otherwise)"
    assert max(Counter(said).values()) <= 2, "once an outage (and once more where it goes on otherwise)"
    history.close()
    journal.close()


def test_a_postgresql_that_comes_later_is_waited_for(
    folder: ServerFolder,
    postgres: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, postgres.new_database())
    tries: list[None] = []
    monkeypatch.setattr(recorder, "PAUSES_S", (0.01,))
    monkeypatch.setattr(recorder, "prepare", lambda *given: tries.append(None) or prepare(*given))  # type: ignore[func-returns-value]
    journal = begin_run(folder, RUN, 100, NOW)
    write_rounds(folder, journal, 1, 3)
    history = History(history_url(folder))
    postgres.stop()
    try:
        with recording(folder):
            wait_until(lambda: len(tries) > 3)
            postgres.start()
            wait_until(lambda: is_whole(folder, history))
    finally:
        if postgres.process is None:
            postgres.start()
    check_whole(folder, history)
    history.close()
    journal.close()


def _waits(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.text.count("event=history_waits")


def test_a_locked_sqlite_is_waited_for(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "BUSY_S", 0.05)
    history = History(history_url(folder))
    journal = begin_run(folder, RUN, 100, NOW)
    with recording(folder):
        wait_until(lambda: has_runs(history))
        with sqlite3.connect(folder.state / "history.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            before = len(caplog.text)
            write_rounds(folder, journal, 1, 5)
            wait_until(lambda: "event=history_waits" in caplog.text[before:])
            assert "locked" in caplog.text[before:]
            other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: is_whole(folder, history))
    check_whole(folder, history)
    journal.close()


def test_a_full_disk_is_waited_for(
    folder: ServerFolder,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    monkeypatch.setenv(DATABASE_VARIABLE, f"sqlite:///{small_disk}/history.db")
    history = History(history_url(folder))
    journal = begin_run(folder, RUN, 100, NOW)
    with recording(folder):
        wait_until(lambda: has_runs(history))
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space"):
            fill(filler)
        write_rounds(folder, journal, 1, 60)
        wait_until(lambda: _waits(caplog) >= 1)
        assert "disk" in caplog.text
        filler.unlink()
        wait_until(lambda: is_whole(folder, history))
    check_whole(folder, history)
    journal.close()


def fill(file: Path) -> None:
    """Until the disk is full."""
    with file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(4096))


def test_a_database_that_was_moved_away_is_made_anew_from_the_journals(folder: ServerFolder) -> None:
    history = History(history_url(folder))
    journal = begin_run(folder, RUN, 100, NOW)
    write_rounds(folder, journal, 1, 5)
    with recording(folder):
        wait_until(lambda: has_runs(history))
        (folder.state / "history.db").rename(folder.path / "damaged.db")
        write_rounds(folder, journal, 6, 7)
        wait_until(lambda: is_whole(folder, history))
    check_whole(folder, history)
    journal.close()


def test_of_two_recorders_one_waits_and_takes_over(
    folder: ServerFolder, url: URL, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    journal = begin_run(folder, RUN, 10_000, NOW)
    with recording(folder):
        with recording(folder) as other:
            for round_ in range(1, 20):
                write_rounds(folder, journal, round_, round_)
            wait_until(lambda: is_whole(folder, history))
            wait_until(lambda: "another recorder writes into" in caplog.text)
            assert _waits(caplog) == 1
            other.stop()
        write_rounds(folder, journal, 20, 21)
        wait_until(lambda: is_whole(folder, history))
    check_whole(folder, history)
    assert PASSWORD not in caplog.text
    journal.close()


def test_what_two_take_up_at_once_is_counted_once(
    folder: ServerFolder, url: URL, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lock fails, the positions do not."""
    monkeypatch.setattr("mien_server.history.recorder.sole_recorder", lambda *_: nullcontext())
    journal = begin_run(folder, RUN, 10_000, NOW)
    with recording(folder, 0.001), recording(folder, 0.001):
        for round_ in range(1, 60):
            write_rounds(folder, journal, round_, round_)
            time.sleep(0.005)
        wait_until(lambda: is_whole(folder, history))
    check_whole(folder, history)
    journal.close()


def test_the_database_is_its_owners_only(folder: ServerFolder) -> None:
    files = [folder.state / name for name in ("history.db", "history.db-wal", "history.db-shm")]
    modes: list[int] = []

    def are_there() -> bool:
        """All at once: the last two come one after the other, and go with the last connection."""
        with suppress(FileNotFoundError):
            modes.extend([file.stat().st_mode & 0o777 for file in files])
        return bool(modes)

    mask = os.umask(0)
    try:
        with recording(folder):
            wait_until(are_there)
    finally:
        os.umask(mask)
    assert modes == [0o600] * 3


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
