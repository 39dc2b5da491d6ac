"""Rendering sessions in parallel: a stage and a list of takes in, videos and ratings files out."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

import numpy as np

from mien_common.errors import MienError
from mien_common.files import storage_errors, write_atomic
from mien_lab.puppet_avi import MjpegWriter
from mien_lab.puppet_face import Stage
from mien_lab.puppet_render import FRAME_SIZE, Puppet
from mien_lab.puppet_script import (
    RATE_HZ,
    Participant,
    Rest,
    Traces,
    affect_script,
    frame_count,
    movements,
    ratings,
    rest_of,
    resting,
    shown,
)

JPEG_QUALITY: Final = 80
_REPORT_EVERY: Final = 25


class RenderingError(MienError):
    """A process that renders videos was lost."""


@dataclass(frozen=True)
class Take:
    """One session to be rendered, or a face at rest."""

    who: Participant
    session: int
    """From 1; 0 is the face at rest."""
    seconds: float
    video: Path
    ratings: Path | None
    """None for a face at rest, which nobody rates."""


def film(take: Take, stage: Stage, report: Callable[[int], None]) -> None:
    """Render one session, its video and its ratings; or a face at rest.

    Parameters
    ----------
    report : called now and then with the frames rendered since the last call.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    script, session_random = script_of(take)
    if take.ratings is None:
        expressions, head = resting(take.who, rest(stage), session_random, frame_count(take.seconds))
    else:
        expressions, head = movements(take.who, rest(stage), session_random, shown(script))
    puppet = Puppet(stage, take.who.framing, take.who.light)
    unreported = 0
    with (
        storage_errors(take.video),
        MjpegWriter(take.video, FRAME_SIZE, RATE_HZ, JPEG_QUALITY) as writer,
    ):
        for expression, pose in zip(expressions, head, strict=True):
            writer.write(puppet.render(expression, pose))
            unreported += 1
            if unreported == _REPORT_EVERY:
                report(unreported)
                unreported = 0
    if take.ratings is not None:
        write_atomic(take.ratings, _ratings_csv(ratings(take.who, session_random, script)))
    report(unreported)


def script_of(take: Take) -> tuple[Traces, np.random.Generator]:
    """The session's valence and arousal, and the random stream that the rest of it draws from."""
    random = np.random.default_rng([take.who.seed, take.who.index, take.session])
    return affect_script(random, take.seconds), random


def rest(stage: Stage) -> Rest:
    """The weights of the photograph's neutral face."""
    return rest_of(stage.lip_gap(), stage.corner_lift())


def film_all(takes: Sequence[Take], stage: Stage, workers: int, report: Callable[[int], None]) -> None:
    """Render ``takes`` in ``workers`` processes; whatever ends this call ends them too.

    Raises
    ------
    MienError
        The first error of any take; the other processes are stopped.
    """
    # Spawned, not forked: this process has threads that a fork would copy in mid-air.
    context = get_context("spawn")
    crew: dict[Connection, SpawnProcess] = {}
    try:
        for share in (takes[first::workers] for first in range(min(workers, len(takes)))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            with _interrupts_held():
                process.start()
            theirs.close()
            crew[ours] = process
            # By our own pipe: Python's would block for ever on a worker that dies while it starts.
            _send(ours, (share, stage))
        _follow(dict(crew), report)
    finally:
        for connection, process in crew.items():
            process.terminate()
            process.join()
            connection.close()


def _follow(running: dict[Connection, SpawnProcess], report: Callable[[int], None]) -> None:
    """Pass on what the workers report until each has said that it is done."""
    while running:
        heard = wait(list(running))
        for connection in [one for one in running if one in heard]:
            try:
                message = connection.recv()
            except (EOFError, ConnectionResetError) as error:
                raise _died() from error
            if isinstance(message, MienError):
                raise message
            if message is None:
                running.pop(connection)
            else:
                report(message)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started meanwhile never sees Ctrl-C: the parent decides, and ends its workers itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(connection: Connection, work: tuple[Sequence[Take], Stage]) -> None:
    try:
        connection.send(work)
    except BrokenPipeError as error:
        raise _died() from error


def _died() -> RenderingError:
    return RenderingError(
        "a process that renders the videos ended unexpectedly, perhaps for want of memory. Nothing was "
        "kept; close other programs and try again."
    )


def _work(parent: Connection) -> None:
    """A worker: takes come from ``parent``, to which frame counts go, then None or the error."""
    import cv2

    cv2.setNumThreads(1)  # one worker a core already

    def tell(message: int | MienError | None) -> None:
        try:
            parent.send(message)
        except (BrokenPipeError, ConnectionResetError):  # nobody is left to film for
            raise SystemExit from None

    try:
        takes, stage = parent.recv()
        for take in takes:
            film(take, stage, tell)
        tell(None)
    except (EOFError, ConnectionResetError):  # the parent went before it gave any work
        return
    except MienError as error:
        tell(error)


def _ratings_csv(traces: Traces) -> bytes:
    lines = ["time,valence,arousal"]
    lines += [
        f"{frame / RATE_HZ:.2f},{valence:.5f},{arousal:.5f}"
        for frame, (valence, arousal) in enumerate(traces)
    ]
    return ("\n".join(lines) + "\n").encode()
