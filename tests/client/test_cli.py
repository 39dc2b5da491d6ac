"""``mien agent`` as a person meets it: help, results, and one line for every error."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.sessions import Session, read_session, write_session
from mien_client.site import Site, open_site
from mien_common.cli import main

from .conftest import MakeVideo, children_of, has_ended

Mien = Callable[..., "Done"]

PATIENCE_S = 120.0
COMMAND = [sys.executable, "-c", "from mien_common.cli import main; main()"]


@dataclass(frozen=True)
class Done:
    """What a command left on the screen."""

    returncode: int | str | None
    stdout: str
    stderr: str


@pytest.fixture
def mien(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    """Runs the command in ``tmp_path``."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        for name, value in {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", **environment}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as left:
            main()
        return Done(left.value.code, *capsys.readouterr())

    return run


def error_of(done: Done) -> str:
    """The one line a failed command leaves."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


OPTIONS = {
    "init": ("--name", "--server", "--ca", "--lag-s", "--device"),
    "ingest": (
        *("--ratings", "--site", "--held-out", "--csv", "--rate-hz", "--workers", "--participant", "--json"),
        "--allow-unconfined-face-process",
    ),
    "plot": ("--model", "--site", "--out", "--json"),
    "status": ("--site", "--json"),
    "watch": ("--site", "--model", "--participant", "--raw", "--rate-hz", "--seconds", "--json"),
    "join": ("CODE", "--site", "MIEN_SITE_DIR", "--lag-s", "--device", "--new-key", "--enrol-only"),
    "request": ("--name", "--site", "--out"),
    "accept": ("BUNDLE", "--site", "--authority", "--lag-s", "--device"),
    "rotate-key": ("--site",),
    "doctor": ("--site", "--json"),
    "predict": ("--model", "--site", "--ratings", "--out", "--json"),
}


@pytest.mark.parametrize("command", OPTIONS)
def test_every_command_explains_itself(mien: Mien, command: str) -> None:
    done = mien("agent", command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(option in done.stdout for option in OPTIONS[command])


def test_the_room_explains_itself_and_its_promise(mien: Mien) -> None:
    done = mien("agent", "--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in OPTIONS)
    assert (
        "decoded without a network, and faces are found in a process that has none and cannot write"
        in " ".join(done.stdout.split())
    )


def test_help_loads_nothing_heavy() -> None:
    """A stranger's first command answers at once."""
    code = """
import sys
from mien_common.cli import build_app
build_app()
heavy = {"torch", "mediapipe", "cv2", "flwr", "pyarrow", "matplotlib", "grpc"} & set(sys.modules)
sys.exit(f"loaded {sorted(heavy)}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingest", "film.avi"], "is not a site: it has no site.toml. Make one with `mien agent init`"),
        (["join"], "is not a site"),
        (["predict", "film.avi", "--model", "nowhere"], "there is no model at nowhere"),
        (["init", "s", "--name", "a", "--server", "h:1", "--ca", "no.crt"], "no.crt is not a readable"),
        (["init", "s", "--name", "A B", "--server", "h:1", "--ca", "no.crt"], "name: 'A B' will not do"),
        (
            ["init", "s", "--name", "a", "--server", "h", "--ca", "no.crt"],
            "server: 'h' will not do; give HOST:PORT",
        ),
        (["init", "s", "--name", "a", "--server", "h:99999", "--ca", "x"], "the port must be 1 to 65535"),
        (["init", "s", "--name", "a", "--server", "h:1", "--ca", "x", "--lag-s", "-1"], "lag_s: Input"),
        (["init", "s", "--name", "a", "--server", "h:1", "--ca", "x", "--device", "tpu"], "device: Input"),
    ],
)
def test_an_error_is_one_line(mien: Mien, tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in error_of(mien("agent", *arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--colour"], ["ingest"], ["init", "x"], ["dance"]])
def test_wrong_usage_exits_with_two(mien: Mien, arguments: list[str]) -> None:
    done = mien("agent", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "for help" in done.stderr


def test_from_nothing_to_a_session(mien: Mien, tmp_path: Path, ca_pem: bytes, face_video: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(ca_pem)
    made = mien("agent", "init", "site", "--name", "lab-7", "--server", "localhost:9092", "--ca", "ca.crt")
    assert (made.returncode, made.stderr) == (0, "")
    assert "mien server enrol site.pub --name lab-7" in made.stdout
    assert open_site(tmp_path / "site").settings.name == "lab-7"

    film = tmp_path / "[red] portrait.avi"
    shutil.copy(face_video, film)
    taken = mien("agent", "ingest", film, "--csv", "--held-out", MIEN_SITE_DIR="site")
    assert (taken.returncode, taken.stderr) == (0, "")
    assert re.fullmatch(
        r"session red--portrait-[0-9a-f]{8}: 76 frames at 25 Hz, face seen 100 % of the time, "
        r"neutral face from its first minute, held out, never trained on\n",
        taken.stdout,
    )
    (folder,) = (tmp_path / "site" / "sessions").iterdir()
    assert read_session(folder).record.held_out

    again = mien("agent", "ingest", film, "--site", "site")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith(
        f"skipped {film}: already here as {Path('site') / 'sessions' / folder.name}, held"
    )
    assert "Remove that folder and ingest it again to change this." in again.stdout


def test_json_lines_for_programs(mien: Mien, site: Site, face_video: Path) -> None:
    done = mien("agent", "ingest", face_video, "--site", site.folder, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    start, *between, end = (json.loads(line) for line in done.stdout.splitlines())
    (made,) = (each for each in between if each["event"] == "done")
    progress = [each for each in between if each is not made]  # some of it may come after
    assert start == {"event": "start", "recordings": 1}
    assert progress
    assert progress[0] is between[0], "there is progress before there is a result"
    odd = [each for each in progress if each["event"] != "progress" or each["total"] not in (76, None)]
    assert odd == []
    assert (made["frames"], made["valid_frames"], made["seen"]) == (76, 75, {"seen": 1.0})
    assert end == {"event": "finished", "made": 1, "skipped": 0, "failed": 0, "untried": 0}
    assert read_session(Path(made["session"])).record.frames == 76


def test_bad_input_is_one_line_and_leaves_nothing(
    mien: Mien, site: Site, tmp_path: Path, face_video: Path
) -> None:
    (tmp_path / "notes.avi").write_text("no video")
    (tmp_path / "bad.csv").write_text("time,valence,arousal\n0,7,0\n1,0,0\n")
    for arguments, said in (
        ((tmp_path / "notes.avi",), "is not a video that can be decoded"),
        (("absent.avi",), "there is no file absent.avi"),
        ((face_video, "--ratings", tmp_path / "bad.csv"), "bad.csv, line 2: valence 7 is outside −1 to 1"),
        ((face_video, "--ratings", "absent.csv"), "absent.csv: No such file"),
        (("x" * 300,), "File name too long"),
    ):
        assert said in error_of(mien("agent", "ingest", *arguments, "--site", site.folder))
    assert list(site.sessions.iterdir()) == []


def test_a_progress_bar_on_a_terminal_takes_any_name(site: Site, face_video: Path, tmp_path: Path) -> None:
    """A name may look like the bar's own markup, and hold bytes that are no text."""
    film = tmp_path / os.fsdecode(b"[red] [oops caf\xe9.avi")
    shutil.copy(face_video, film)
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "agent", "ingest", str(film), "--site", str(site.folder)],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    ) as command:
        os.close(end)
        drawn = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # Linux says so when the last writer is gone
                break
            drawn += piece
        os.close(terminal)
        assert command.stdout is not None
        assert b"session red---oops-caf" in command.stdout.read()
    assert command.returncode == 0
    assert b"[red] [oops caf" in drawn
    assert b"Traceback" not in drawn


@pytest.fixture(scope="module")
def long_film(
    tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8], make_video: MakeVideo
) -> Path:
    """So long that nobody is done with it between its first frames and a Ctrl-C."""
    frames = [np.roll(astronaut[::2, ::2], number, axis=1) for number in range(7)] * 300
    return make_video(tmp_path_factory.mktemp("film") / "long.avi", frames)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_ingest_leaves_neither_process_nor_session(
    site: Site, long_film: Path, kind: signal.Signals
) -> None:
    with subprocess.Popen(
        [*COMMAND, "agent", "ingest", str(long_film), "--site", str(site.folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as command:
        assert command.stdout is not None
        while (event := json.loads(command.stdout.readline())).get("frames", 0) == 0:
            assert event["event"] in ("start", "progress")
        workers = children_of(command.pid)
        assert workers
        command.send_signal(kind)
        _, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode in ({130} if kind == signal.SIGINT else {143, -signal.SIGTERM})
    assert "Traceback" not in errors
    assert list(site.sessions.iterdir()) == []
    end = time.monotonic() + PATIENCE_S
    while not all(has_ended(worker) for worker in workers):
        assert time.monotonic() < end, "the face process outlived its command"
        time.sleep(0.02)


class TestJoin:
    """An agent whose server is not there yet waits; it stops at once when told to."""

    @pytest.fixture
    def started(self, site: Site, make_session: Callable[..., Session]) -> Callable[[], Any]:
        write_session(site.sessions, make_session("s"))
        settings = (site.folder / "site.toml").read_text()
        (site.folder / "site.toml").write_text(settings.replace("127.0.0.1:9", "127.0.0.1:1"))

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                [*COMMAND, "agent", "join", "--site", str(site.folder)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

        return start

    @pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
    def test_waits_for_its_server_and_leaves_when_told(
        self, started: Callable[[], subprocess.Popen[str]], kind: signal.Signals
    ) -> None:
        with started() as agent:
            assert agent.stderr is not None
            assert "WARNING waiting server=127.0.0.1:1" in agent.stderr.readline()
            agent.send_signal(kind)
            output, errors = agent.communicate(timeout=PATIENCE_S)
        assert agent.returncode in (0, 130)
        assert "site site-1 left the federation" in errors
        assert "Traceback" not in errors
        assert output == ""

    def test_a_second_agent_on_one_folder_is_refused(
        self, started: Callable[[], subprocess.Popen[str]], site: Site
    ) -> None:
        with started() as agent:
            assert agent.stderr is not None
            agent.stderr.readline()
            with started() as second:
                output, errors = second.communicate(timeout=PATIENCE_S)
            assert error_of(Done(second.returncode, output, errors)).startswith(
                f"error: another agent is running on {site.folder}. Stop it first"
            )
            agent.kill()
        # The lock falls with the process, also when it is killed.
        with started() as agent:
            assert agent.stderr is not None
            assert "waiting" in agent.stderr.readline()
            agent.terminate()
            agent.communicate(timeout=PATIENCE_S)

    def test_a_key_that_others_can_read_stops_it(
        self, started: Callable[[], subprocess.Popen[str]], site: Site
    ) -> None:
        site.private_key_file.chmod(0o644)
        with started() as agent:
            output, errors = agent.communicate(timeout=PATIENCE_S)
        said = error_of(Done(agent.returncode, output, errors))
        assert "can be read by others. Run: chmod 600" in said
