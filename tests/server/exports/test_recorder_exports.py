"""The recorder's process with both exports, killed in the middle of its work, again and again."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mien_server.exports.choice import wanted_followers
from mien_server.exports.mlflow_server import MLFLOW_VARIABLE
from mien_server.exports.tensorboard import FILE
from mien_server.folder import ServerFolder, save_settings
from mien_server.runs.journal import new_event

from ...waiting import wait_until
from .made_journal import made_run, round_event, write
from .mlflow_rest import MlflowRest


@pytest.fixture
def server() -> Iterator[MlflowRest]:
    made = MlflowRest()
    yield made
    made.close()


@contextlib.contextmanager
def recorder(folder: ServerFolder, address: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "mien_server.history.recorder", str(folder.path)]
    environment = {**os.environ, MLFLOW_VARIABLE: address}
    with log.open("ab") as out, subprocess.Popen(command, env=environment, stderr=out) as process:
        try:
            yield process
        finally:
            process.kill()


def steps(folder: ServerFolder, run: str) -> list[int]:
    found: Any = EventAccumulator(str((folder.runs / run / FILE).parent), size_guidance={"scalars": 0})
    found.Reload()
    return [point.step for point in found.Scalars("loss/mean")]


def test_each_round_is_there_once_whatever_is_killed(
    folder: ServerFolder, server: MlflowRest, tmp_path: Path
) -> None:
    """Killed while it takes up one round after another; MLflow is away at first."""
    run, log = made_run(folder), tmp_path / "recorder.log"
    write(folder, run, new_event("started", run=run, rounds=20, rule="fedavg", quorum=2))
    server.broken = (503, "later")
    with recorder(folder, server.address, log) as process:
        write(folder, run, *map(round_event, range(1, 5)))
        wait_until(lambda: len(server.requests) > 1 and (folder.runs / run / FILE).exists())
        process.send_signal(signal.SIGKILL)
    server.broken = None
    with recorder(folder, server.address, log) as process:
        write(folder, run, *map(round_event, range(5, 9)))
        wait_until(lambda: server.runs and len(server.history("loss/mean")) >= 3)
        process.send_signal(signal.SIGKILL)
    with recorder(folder, server.address, log) as process:
        write(folder, run, *map(round_event, range(9, 13)), new_event("finished", run=run, rounds=12))
        wait_until(lambda: server.only_run()["status"] == "FINISHED")
        wait_until(lambda: len(steps(folder, run)) == 12)
        process.terminate()
        assert process.wait(60) == 0

    assert steps(folder, run) == list(range(1, 13))
    assert [step for step, _ in server.history("loss/mean")] == list(range(1, 13))
    assert log.read_text().count("event=follower_waits") == 1


def test_what_is_switched_off_is_not_there(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MLFLOW_VARIABLE, raising=False)
    off = ServerFolder(folder.path, folder.settings.model_copy(update={"tensorboard": False}))
    save_settings(off)

    assert wanted_followers(off) == []
    assert [follower.name for follower in wanted_followers(folder)] == ["tensorboard"]


def test_an_address_that_is_none_is_said_and_the_other_export_goes_on(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(MLFLOW_VARIABLE, "me:secret@nowhere")

    assert [follower.name for follower in wanted_followers(folder)] == ["tensorboard"]
    assert "event=mlflow_off" in caplog.text
    assert "secret" not in caplog.text


def without_end(line: socket.socket, is_over: threading.Event) -> None:
    """Answer with a header that never ends: no patience with silence runs out meanwhile."""
    with line, contextlib.suppress(OSError):
        line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not is_over.wait(0.5):
            line.sendall(b"x")


def test_a_server_that_answers_nobody_holds_up_no_other_export(folder: ServerFolder, tmp_path: Path) -> None:
    """It accepts a connection and never comes to an end: whoever waited for that would wait for ever."""
    run, is_over = made_run(folder), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as held:
        server.settimeout(60)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with recorder(folder, address, tmp_path / "log") as process:
            write(
                folder, run, new_event("started", run=run, rounds=20, rule="fedavg", quorum=2), round_event(1)
            )
            wait_until((folder.runs / run / FILE).exists)
            line, _ = server.accept()
            answering = threading.Thread(target=without_end, args=(line, is_over))
            answering.start()
            held.callback(answering.join)
            held.callback(is_over.set)
            write(folder, run, round_event(2))
            wait_until(lambda: len(steps(folder, run)) == 2)
            assert answering.is_alive()
            process.terminate()
            assert process.wait(60) == 0  # nor does it hold up the end
