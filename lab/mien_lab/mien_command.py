"""The ``mien`` command as the demo and the benchmarks use it: as a user would, in processes of its own.

Every process ends with the one that started it, also when that one is killed.
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mien_common.errors import FederationError
from mien_server.logs import interrupts_held_back, raise_if_interrupted
from mien_server.processes import die_with, end_group

Argument = str | int | float | Path


def mien(*arguments: Argument) -> list[str]:
    """The command line of ``mien`` with these arguments, in this interpreter's environment."""
    return [sys.executable, "-m", "mien_common", *map(str, arguments)]


def run_mien(*arguments: Argument) -> str:
    """Run ``mien`` to its end; its output.

    Raises
    ------
    FederationError
        It failed; the message is what it printed.
    """
    with _started(mien(*arguments)) as process:
        output, errors = process.communicate()
    if process.returncode != 0:
        said = (errors.strip() or output.strip()).removeprefix("error: ")
        raise FederationError(f"`mien {arguments[0]} {arguments[1]}` failed: {said}")
    return output


def follow(command: Sequence[str]) -> Generator[str]:
    """Lines a command prints, as they come.

    Raises
    ------
    FederationError
        It failed; the message is what it printed on standard error.
    """
    with _started(command) as process:
        errors = _drain(process.stderr)
        for line in _pipe(process.stdout):
            raise_if_interrupted()
            yield line.rstrip("\n")
        code = process.wait()
        said = errors()
        if code != 0:
            raise _failure(command, code, said)


def run_side_by_side(
    commands: Sequence[Sequence[str]], take: Callable[[int, str], None], workers: int | None = None
) -> None:
    """Run commands, a few at a time; ``take`` gets the index and each line one prints.

    Raises
    ------
    FederationError
        One failed; the others are ended.
    """
    workers = workers or os.cpu_count() or 1
    lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
    waiting = list(enumerate(commands))
    running: dict[int, subprocess.Popen[str]] = {}
    errors: dict[int, Callable[[], list[str]]] = {}

    def read(index: int, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                lines.put((index, line))
        lines.put((index, None))

    try:
        while waiting or running:
            while waiting and len(running) < workers:
                index, command = waiting.pop(0)
                # Started here, in the main thread: the kernel ties a child's life to the thread that made it.
                running[index] = _start(command)
                errors[index] = _drain(running[index].stderr)
                threading.Thread(target=read, args=(index, _pipe(running[index].stdout)), daemon=True).start()
            index, line = lines.get()
            raise_if_interrupted()
            if line is not None:
                take(index, line)
                continue
            code = running.pop(index).wait()
            said = errors[index]()
            if code != 0:
                raise _failure(commands[index], code, said)
    finally:
        for process in running.values():
            end_group(process.pid, 2.0, process)


@contextmanager
def _started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = _start(command)
    try:
        raise_if_interrupted()
        yield process
    finally:
        if process.poll() is None:
            end_group(process.pid, 5.0, process)
            process.wait()
        _pipe(process.stdout).close()


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    with interrupts_held_back():
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )


def _drain(pipe: IO[str] | None) -> Callable[[], list[str]]:
    """Read a pipe to its end in the background, so that its writer never blocks; its last lines."""
    kept: list[str] = []

    def read() -> None:
        with _pipe(pipe) as lines:
            kept.extend(lines)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def result() -> list[str]:
        thread.join(timeout=5.0)
        return kept[-20:]

    return result


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise FederationError("a process without the pipe it was started with")
    return pipe


def _failure(command: Sequence[str], code: int, errors: Sequence[str]) -> FederationError:
    said = "".join(errors).strip().removeprefix("error: ") or f"exit code {code}"
    return FederationError(f"`{' '.join(command[2:5])}` failed: {said}")
