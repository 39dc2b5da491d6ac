"""Child processes that are kept alive, and of which nothing stays behind.

Each child leads its own process group, so that Ctrl-C in the terminal reaches only us and we stop
them in order. The kernel ends them when we die without a word (``SIGKILL``, out of memory).
"""

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mien_common.errors import FederationError
from mien_common.files import storage_errors

BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Pauses before a child that died is started again; the last one repeats."""
SETTLED_S: Final = 60.0
"""A child that lived this long starts again at the first pause."""
STOP_PATIENCE_S: Final = 8.0
LOG_LIMIT_BYTES: Final = 16 * 1024 * 1024
POLL_S: Final = 0.05

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """What to start, and where its output goes."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path
    shows_certificate: bool = False
    """Whether it shows the server's certificate, and must be started again with another one."""


@dataclass
class Child:
    """A running command; it is started again when it dies."""

    command: Command
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    start_again_at: float | None = field(default=None)

    def start(self) -> None:
        """Start the command now."""
        file = self.command.log_file
        with storage_errors(file):
            output = file.open("ab")  # to append, so that a log put aside goes on at its new end
        with output:
            # Only the main thread may call this: the kernel ties the child to the thread that made it.
            self.process = subprocess.Popen(
                self.command.arguments,
                env=dict(self.command.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )
        self.started, self.start_again_at = time.monotonic(), None
        log.info("event=started process=%s pid=%d", self.command.name, self.process.pid)

    def watch(self) -> bool:
        """Start the child again if it died and its pause is over; whether it was started just now.

        To be called every moment; it also keeps the child's log from growing without end.
        """
        now = time.monotonic()
        _put_aside(self.command.log_file)
        if self.start_again_at is not None:
            if now >= self.start_again_at:
                self.start()
                return True
            return False
        if self.process is None or self.process.poll() is None:
            return False
        end_group(self.process.pid)
        self.deaths = 1 if now - self.started > SETTLED_S else self.deaths + 1
        pause_s = BACKOFF_S[min(self.deaths, len(BACKOFF_S)) - 1]
        self.start_again_at = now + pause_s
        log.warning(
            "event=died process=%s exit=%d start_again_in_s=%.1f log=%s",
            self.command.name,
            self.process.returncode,
            pause_s,
            self.command.log_file,
        )
        return False

    def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """End the child and everything it started: politely, then, after ``patience_s``, for certain."""
        self.start_again_at = None
        if self.process is not None:
            end_group(self.process.pid, patience_s, self.process)
            self.process.wait()
            self.process = None

    def restart(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """End the child and start it anew; also one that has died and waits for its next start."""
        self.stop(patience_s)
        self.deaths = 0
        self.start()

    def failure(self) -> FederationError:
        """The error to raise when the child died while it should have come up."""
        code = None if self.process is None else self.process.returncode
        return FederationError(
            f"{self.command.name} ended with {code} while starting: {last_line(self.command.log_file)}. "
            f"Its log: {self.command.log_file}"
        )


def end_group(group: int, patience_s: float = 0.0, leader: "subprocess.Popen[Any] | None" = None) -> None:
    """End a process group: SIGTERM, ``patience_s`` to obey, then SIGKILL; return when it is gone."""
    if patience_s and _signal_group(group, signal.SIGTERM):
        _wait_until(lambda: not _group_lives(group, leader), patience_s)
    if _signal_group(group, signal.SIGKILL):
        _wait_until(lambda: not _group_lives(group, leader), STOP_PATIENCE_S)


def last_line(file: Path) -> str:
    """The last line with something in it, for an error message."""
    try:
        lines = file.read_text(errors="replace")[-4000:].splitlines()
    except OSError:
        return "no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")


def _put_aside(log_file: Path) -> None:
    """Keep a log that has grown long as ``.log.1``, and go on with an empty one."""
    if log_file.exists() and log_file.stat().st_size > LOG_LIMIT_BYTES:
        try:
            shutil.copyfile(log_file, log_file.with_suffix(".log.1"))
            os.truncate(log_file, 0)
        except OSError as error:  # a full disk must not end the server
            log.warning("event=log_not_put_aside file=%s reason=%s", log_file, error)


def _group_lives(group: int, leader: "subprocess.Popen[Any] | None") -> bool:
    if leader is not None:
        leader.poll()  # a dead child that nobody asked for still counts as a member of its group
    return _signal_group(group, 0)


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _wait_until(condition: Callable[[], bool], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def die_with(parent: int) -> Callable[[], None]:
    """For ``preexec_fn``: the new process is killed when its parent, ``parent``, dies."""

    def ask_the_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return ask_the_kernel
