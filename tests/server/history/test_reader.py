"""Questions to the history, against the same questions asked of everything in it, one by one."""

import datetime as dt
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import URL, Engine, text
from sqlalchemy.exc import DBAPIError

from mien_common.errors import StorageError
from mien_server.folder import DATABASE_VARIABLE, ServerFolder
from mien_server.history import connection, patience
from mien_server.history.connection import database_errors, history_url, reader_engine, writer_engine
from mien_server.history.reader import History

from .made_history import FINISHED, RUNNING, add_round, begin_run, make_history, record
from .postgres import Cluster

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


@pytest.fixture
def made(folder: ServerFolder, url: URL, history: History) -> History:
    with make_history(folder, NOW):
        return history


def test_events_by_every_filter(made: History) -> None:
    everything = made.events(limit=10_000)
    assert [event.id for event in everything] == list(range(len(everything), 0, -1))
    for kinds, run, site, words in itertools.product(
        ((), ("round",), ("dropped", "joined")), (None, RUNNING), (None, "lab-3"), (None, "LAB", "100%_x")
    ):
        expected = [
            event
            for event in everything
            if (not kinds or event.kind in kinds)
            and (run is None or event.run == run)
            and (site is None or event.site == site)
            and (words is None or words.lower() in event.text.lower())
        ]
        assert made.events(kinds=kinds, run=run, site=site, text=words, limit=10_000) == expected
    middle = everything[len(everything) // 2].id
    assert made.events(after=middle, limit=10_000) == [e for e in everything[::-1] if e.id > middle]
    assert made.events(after=middle, limit=3) == [e for e in everything[::-1] if e.id > middle][:3]
    assert made.events(before=middle, limit=3) == [e for e in everything if e.id < middle][:3]
    assert made.events(after=made.last_event()) == []


@pytest.mark.parametrize("words", ["'; DROP TABLE events; --", "\\", "%", "_", "\"'", "ε"])
def test_words_are_words(made: History, words: str) -> None:
    everything = made.events(limit=10_000)
    found = made.events(text=words, site=None, run=words, limit=10_000)
    assert found == []
    assert made.events(text=words, limit=10_000) == [e for e in everything if words in e.text]


def test_runs_by_page(made: History) -> None:
    newest, oldest = made.runs()
    assert (newest.run, oldest.run) == (RUNNING, FINISHED)
    assert made.runs(limit=1) == [newest]
    assert made.runs(before=newest.number) == [oldest]
    assert made.run(FINISHED) == oldest
    assert made.run("none") is None
    assert newest.settings["rule"] == {"name": "fedavg", "weighting": "frames"}


def test_rounds_and_the_sites_parts_in_them(made: History) -> None:
    everything = made.site_rounds(FINISHED)
    assert [(part.round, part.site) for part in everything] == [
        (round_, f"lab-{site}") for round_ in range(1, 13) for site in (1, 2, 3)
    ]
    assert made.site_rounds(FINISHED, round=4) == [part for part in everything if part.round == 4]
    assert made.site_rounds(FINISHED, site="lab-2") == [part for part in everything if part.site == "lab-2"]
    assert made.site_rounds(FINISHED, limit=4) == everything[-4:]
    assert [found.round for found in made.rounds(FINISHED, after=10)] == [11, 12]
    assert [found.round for found in made.rounds(FINISHED, limit=2)] == [1, 2]
    assert made.rounds("none") == []


def test_releases_with_their_files(made: History, folder: ServerFolder) -> None:
    newest, oldest = made.releases()
    assert (newest.version, newest.is_latest, oldest.is_latest) == ("1.1.0", True, False)
    assert newest.files["model.onnx"] == (folder.releases / "1.1.0" / "model.onnx").stat().st_size
    assert json.loads((folder.releases / "1.1.0" / "card.json").read_text())["round"] == newest.round


def test_another_latest_release_is_seen(made: History, folder: ServerFolder) -> None:
    from mien_common.release_version import parse_version
    from mien_server.publishing.releases import roll_back

    roll_back(folder, parse_version("1.0.0"), NOW)
    record(folder, None, NOW)
    assert [(found.version, found.is_latest) for found in made.releases()] == [
        ("1.1.0", False),
        ("1.0.0", True),
    ]
    assert made.events(limit=1)[0].text == "release 1.0.0 is the latest again"


def test_many_threads_ask_while_one_writes(folder: ServerFolder, url: URL, history: History) -> None:
    journal = begin_run(folder, RUNNING, 100, NOW)
    record(folder, None, NOW)
    failures: list[Exception] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                rounds = history.rounds(RUNNING)
                assert [found.round for found in rounds] == list(range(1, len(rounds) + 1))
                parts = history.site_rounds(RUNNING)
                assert len(parts) % 3 == 0, "a round is there with all its parts, or not at all"
                history.sites()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
                failures.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(1, 13):
            add_round(folder, journal, round_, 100, NOW)
            record(folder, None, NOW)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        journal.close()
    assert not failures
    assert len(history.rounds(RUNNING)) == 12


def test_a_reader_cannot_write(made: History, url: URL) -> None:
    engine: Engine = reader_engine(url)
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))
    engine.dispose()
    assert made.last_event() > 0


def test_a_database_that_is_no_database_is_named(folder: ServerFolder) -> None:
    file = folder.state / "history.db"
    file.write_bytes(b"not SQLite at all" * 100)
    from mien_server.history.database import open_history

    with pytest.raises(StorageError, match=r"not a database\. Move it away"):
        open_history(folder)
    with pytest.raises(StorageError, match=r"not a database\. Move it away"):
        record(folder, None, NOW)
    assert file.read_bytes().startswith(b"not SQLite")


def test_a_postgresql_that_hangs_is_given_up_and_answers_once_it_goes_on(
    folder: ServerFolder, postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 2)
    monkeypatch.setenv(DATABASE_VARIABLE, postgres.new_database())
    with make_history(folder, NOW):
        history = History(history_url(folder))
        assert len(history.runs()) == 2
    with postgres.connect() as other:
        ours = other.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'mien'").fetchall()
    assert ours
    assert postgres.process is not None
    hanging = [postgres.process.pid, *(int(str(pid)) for (pid,) in ours)]
    try:
        monkeypatch.setattr(patience, "ANSWER_S", 0.5)
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(2):  # on a connection that was there, and on a new one
            begin = time.monotonic()
            with pytest.raises(StorageError, match="Does PostgreSQL run"):
                history.runs()
            assert time.monotonic() - begin < 20
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
        monkeypatch.setattr(patience, "ANSWER_S", 60.0)
    assert len(history.runs()) == 2
    history.close()


def test_a_question_that_is_not_answered_is_given_up_in_words(
    folder: ServerFolder, postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_S", 2.0)
    monkeypatch.setenv(DATABASE_VARIABLE, postgres.new_database())
    url = history_url(folder)
    engine = reader_engine(url)
    told = pytest.raises(StorageError, match=r"no answer within 2 s\. Does PostgreSQL run")
    with told, database_errors(url), engine.begin() as open_:
        open_.execute(text("SELECT pg_sleep(60)"))
    monkeypatch.setattr(patience, "ANSWER_S", 60.0)
    with engine.begin() as open_:
        assert open_.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("make", [reader_engine, writer_engine])
def test_a_machine_that_fell_silent_is_given_up_by_tcp(
    folder: ServerFolder, postgres: Cluster, monkeypatch: pytest.MonkeyPatch, make: Callable[[URL], Engine]
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, f"{postgres.new_database()}?keepalives_count=7")
    engine = make(history_url(folder))
    with engine.connect() as made:
        driver = made.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as line:
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            found = [
                line.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
            assert found == [10, 5, 7], "and what the URL says counts more"
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000
    engine.dispose()
