"""`mien server status` of a server with a past: in a terminal and in a pipe; without database or server."""

import contextlib
import datetime as dt
import fcntl
import json
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien_server.cli import app
from mien_server.commands import status as command
from mien_server.facts import Status
from mien_server.folder import DATABASE_VARIABLE, ServerFolder
from mien_server.history.database import open_history
from mien_server.status import read_status
from mien_server.status_source import StatusSource

from ..history.made_history import RUNNING, MadeHistory, add_round, made_nodes, make_history


@pytest.fixture
def made(folder: ServerFolder) -> Iterator[MadeHistory]:
    with make_history(folder) as found:
        yield found


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process keeps what it does on Ctrl-C."""
    monkeypatch.setattr("mien_server.logs.interrupt_on_signals", lambda: None)


def status(folder: ServerFolder, *options: str) -> str:
    found = CliRunner().invoke(app, ["status", "--dir", str(folder.path), *options], catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


def as_program(folder: ServerFolder, *options: str) -> list[str]:
    return [sys.executable, "-m", "mien_common", "server", "status", "--dir", str(folder.path), *options]


def test_a_server_that_runs(made: MadeHistory) -> None:
    lines = status(made.folder).splitlines()

    assert re.fullmatch(r"server    up since .*, version .*", lines[0])
    assert f"run       {RUNNING}  running  fedavg, quorum 2" in lines
    assert [line for line in lines if line.startswith("          waiting for 1 of 3 sites: lab-2 last seen ")]
    (valence,) = [line for line in lines if line.startswith("valence")]
    assert re.search(r"CCC 0\.\d+ +▁.█ ", valence)
    assert [line.split()[:2] for line in lines[-4:-1]] == [
        ["lab-1", "online"],
        ["lab-2", "late"],
        ["lab-3", "online"],
    ]
    assert lines[-1] == "  SessionError"
    assert not [line for line in lines if "\x1b" in line]


def test_as_json_it_is_the_status_that_the_page_has(made: MadeHistory) -> None:
    found = Status.model_validate_json(status(made.folder, "--json"))

    expected = read_status(made.folder, open_history(made.folder), dt.datetime.now(dt.UTC))
    assert found.run == expected.run
    assert found.sites == expected.sites
    assert found.events == expected.events
    assert found.now is not None
    assert [site.site for site in found.now.awaits] == ["lab-2"]


def test_a_server_that_is_down(folder: ServerFolder) -> None:
    make_history(folder, up=False).close()

    lines = status(folder).splitlines()

    assert lines[0].startswith("server    not running; `mien server up` starts it")
    assert not [line for line in lines if line.startswith(("now", "left"))]
    assert [line.split()[1] for line in lines if line.startswith("lab-")] == ["offline"] * 3


@pytest.mark.parametrize("problem", ["absent", "no database", "a newer Mien's", "away"])
def test_without_its_database_the_files_tell(
    made: MadeHistory, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_it = status(made.folder).splitlines()
    database = made.folder.state / "history.db"
    match problem:
        case "absent":
            for file in made.folder.state.glob("history.db*"):
                file.unlink()
        case "no database":
            database.write_bytes(b"no database" * 1000)
        case "a newer Mien's":
            with contextlib.closing(sqlite3.connect(database)) as newer, newer:
                newer.execute("UPDATE mien_revision SET version_num = '00ff'")
        case "away":
            monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://me:secret@127.0.0.1:1/mien")

    (tmp_path / "short-lived").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "short-lived"))
    files_before = sorted(made.folder.path.rglob("*"))
    lines = status(made.folder).splitlines()

    (warning,) = [line for line in lines if "What follows was read from the server's files." in line]
    assert warning.startswith("WARNING")
    assert "secret" not in warning
    rest = [line for line in lines if line != warning]
    # Only the SuperLink knows who is online: without the history nobody remembers what it said.
    told = ("run", "rounds", "now", "valence", "arousal", "loss", "release")
    assert [line for line in rest if line.startswith(told)] == [
        line for line in with_it if line.startswith(told)
    ]
    assert [line.split()[0] for line in rest[-4:-1]] == ["lab-1", "lab-2", "lab-3"]
    assert sorted(made.folder.path.rglob("*")) == files_before
    assert not list((tmp_path / "short-lived").iterdir())


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_watched_without_a_database_it_leaves_nothing_behind(
    made: MadeHistory, tmp_path: Path, end: signal.Signals
) -> None:
    database, away = made.folder.state / "history.db", made.folder.state / "away.db"
    database.rename(away)
    (tmp_path / "short-lived").mkdir()
    with subprocess.Popen(
        as_program(made.folder, "--watch", "--json"),
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path / "short-lived")},
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["run"]["run"] == RUNNING
        assert list((tmp_path / "short-lived").iterdir())
        process.send_signal(end)
        assert process.wait(60) == 130

    assert not list((tmp_path / "short-lived").iterdir())


def test_once_the_database_is_back_it_is_read_again(
    made: MadeHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short-lived").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "short-lived"))
    database, away = made.folder.state / "history.db", made.folder.state / "away.db"
    with StatusSource(made.folder) as source:
        database.rename(away)
        without = source.read(made.now)
        away.rename(database)
        soon, later = (source.read(made.now + dt.timedelta(seconds=seconds)) for seconds in (1, 60))

        assert [len(moment.warnings) - len(later.warnings) for moment in (without, soon, later)] == [1, 1, 0]
        assert later.rounds == without.rounds
        assert not list((tmp_path / "short-lived").iterdir())


def test_a_new_folder(folder: ServerFolder) -> None:
    lines = status(folder).splitlines()

    assert "run       none yet; `mien server run --rounds N` starts one" in lines
    assert lines[-1] == "no sites yet; let one in: mien server invite --name lab-1"


def test_no_folder_at_all(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "mien_common", "server", "status", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"error: {tmp_path} is not a server folder")


def test_watched_it_tells_of_every_change_and_of_no_other_moment(
    made: MadeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "EVERY_S", 0.001)
    changes = command._changes(made.folder, watch=True)
    first = next(changes)
    reads = 0

    def pause(_: float) -> None:
        """Between two looks: after five in which nothing happened, a round is done."""
        nonlocal reads
        reads += 1
        if reads == 5:
            add_round(made.folder, made.journal, 4, 20, made.now)
            made.record()

    monkeypatch.setattr(time, "sleep", pause)
    second = next(changes)

    assert first.status.run is not None
    assert second.status.run is not None
    assert (first.status.run.rounds_done, second.status.run.rounds_done) == (3, 4)
    assert [found.round for found in second.rounds] == [1, 2, 3, 4]
    assert reads == 5


def test_json_lines_for_a_program_that_stops_reading(made: MadeHistory) -> None:
    """As `mien server status --watch --json | head -1`."""
    with subprocess.Popen(
        as_program(made.folder, "--watch", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["run"]["run"] == RUNNING
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest, errors) == (130, "", "")


def screen_of(folder: ServerFolder, until: str, environment: dict[str, str], columns: int) -> str:
    """What a terminal is sent until it has shown ``until``; then Ctrl-C."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    # Some libraries set a width in the tests' own process; here the terminal's counts, and its colours.
    others = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    around = {name: value for name, value in os.environ.items() if name not in others}
    sent = b""
    with subprocess.Popen(
        as_program(folder, "--watch"),
        stdin=end,
        stdout=end,
        stderr=end,
        env={**around, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(end)
        deadline = time.monotonic() + 60
        while until.encode() not in sent:
            assert time.monotonic() < deadline, sent.decode(errors="replace")
            ready, _, _ = select.select([terminal], [], [], 0.1)
            sent += os.read(terminal, 65536) if ready else b""
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    os.close(terminal)
    return sent.decode(errors="replace")


COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;)")


def test_in_a_terminal_it_is_coloured_and_fits(made: MadeHistory) -> None:
    sent = screen_of(made.folder, "SessionError", {}, columns=60)

    assert COLOUR.search(sent)
    first = sent[: sent.index("SessionError")]
    # A carriage return begins a line again: so does the next picture, drawn over the one before.
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", first).replace("\r", "\n")
    assert max(map(len, shown.splitlines())) <= 60
    assert "lab-2 last seen" in " ".join(shown.split())


def test_without_colours_where_nobody_wants_any(made: MadeHistory) -> None:
    sent = screen_of(made.folder, "SessionError", {"NO_COLOR": "1"}, columns=100)

    assert not COLOUR.search(sent)


def test_starts_without_what_a_run_needs(made: MadeHistory) -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", *as_program(made.folder)[1:]],
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in found.stderr.splitlines()}
    assert "sqlalchemy" in loaded
    assert not loaded & {"torch", "numpy", "flwr", "grpc", "alembic", "fastapi", "uvicorn", "mlflow"}


def test_while_the_database_is_away_the_superlink_says_who_is_there(
    made: MadeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made.folder.state / "history.db").unlink()
    nodes = {node.public_key: node for node in made_nodes(made.folder, made.now)}
    monkeypatch.setattr("mien_server.status_source.nodes_now", lambda _: nodes)
    told = status(made.folder)

    assert re.search(r"waiting for 1 of 3 sites: lab-2 last seen \d+ s ago", told)
    stands = [line.split()[:2] for line in told.splitlines() if re.match(r"lab-\d", line)]
    assert stands == [["lab-1", "online"], ["lab-2", "late"], ["lab-3", "online"]]


def test_without_database_and_superlink_nobody_who_took_part_was_never_seen(made: MadeHistory) -> None:
    (made.folder.state / "history.db").unlink()
    told = status(made.folder)

    assert "waiting for 1 of 3 sites: lab-2\n" in told
    assert "never seen" not in told
