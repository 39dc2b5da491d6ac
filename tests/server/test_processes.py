"""Children are kept alive, and nothing of them stays behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien_server.processes import Child, Command

from ..waiting import wait_until

# A child with a grandchild; both shrug off SIGTERM when told to.
FAMILY = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import time; time.sleep(600)"
grandchild = subprocess.Popen([sys.executable, "-c", code], restore_signals=False)
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter of one that goes while it is read
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def family(log: Path) -> list[int]:
    """Process ids of the newest child and its grandchild."""
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"))
    return [int(pid) for pid in log.read_text().splitlines()[-1].split()]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    command = [sys.executable, "-c", FAMILY]
    child = Child(Command("family", command, dict(os.environ), tmp_path / "family.log"))
    child.start()
    yield child
    child.stop(1.0)


def test_a_stop_ends_the_grandchildren_too(child: Child) -> None:
    pids = family(child.command.log_file)

    child.stop()

    assert not any(alive(pid) for pid in pids)


def test_a_stubborn_family_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAMILY, "stubborn"]
    child = Child(Command("family", command, dict(os.environ), tmp_path / "family.log"))
    child.start()
    pids = family(child.command.log_file)

    child.stop(patience_s=0.3)

    assert not any(alive(pid) for pid in pids)


def test_a_child_that_dies_is_started_again(child: Child) -> None:
    first, orphan = family(child.command.log_file)

    os.kill(first, signal.SIGKILL)
    wait_until(child.watch)

    second = child.process.pid if child.process is not None else 0
    assert second != first
    wait_until(lambda: family(child.command.log_file)[0] == second)
    assert not alive(orphan)


TALK = """
import sys
for line in ("a long story", "new"):
    print(line, flush=True)
    open(sys.argv[1]).read()  # a pipe: goes on when told
"""


def test_a_log_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien_server.processes.LOG_LIMIT_BYTES", 10)
    log, pipe = tmp_path / "x.log", tmp_path / "pipe"
    os.mkfifo(pipe)
    child = Child(Command("x", [sys.executable, "-c", TALK, str(pipe)], dict(os.environ), log))

    child.start()
    wait_until(lambda: log.exists() and log.read_text() == "a long story\n")
    child.watch()
    pipe.write_text("go on")
    wait_until(lambda: log.read_text() == "new\n")
    child.stop()

    assert (tmp_path / "x.log.1").read_text() == "a long story\n"


START = """
import os, pathlib, sys, time
from mien_server.processes import Child, Command
command = [sys.executable, "-c", sys.argv[2]]
Child(Command("family", command, dict(os.environ), pathlib.Path(sys.argv[1]))).start()
time.sleep(600)
"""


def test_a_child_dies_with_us_however_we_die(tmp_path: Path) -> None:
    log = tmp_path / "family.log"
    with subprocess.Popen([sys.executable, "-c", START, str(log), FAMILY]) as parent:
        try:
            first, grandchild = family(log)
        finally:
            parent.kill()
    try:
        wait_until(lambda: not alive(first))
    finally:
        os.kill(grandchild, signal.SIGKILL)  # only our own children are bound to us
