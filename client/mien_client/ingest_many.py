"""Many recordings in, several at a time; what is finished is kept, whatever becomes of the others.

Enters: :class:`~mien_client.recordings.Recording` s. Leaves: one result for each, and how far all of
it is. Each worker is a thread with a face process of its own: OpenCV and the face process work while
the thread waits, so threads use the cores, and one process holds the site's claims.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from mien_common.errors import ConfinementError, MienError, StorageError

from .face.seat import FaceSeat
from .ingest import Choices, Ingested, Report, announced_frames, ingest_recording, why_skipped
from .known_recordings import AlreadyHereError, BeingIngestedError, KnownRecordings
from .recordings import Recording, probably_twins
from .site import Site

log = logging.getLogger(__name__)

TICK_S: Final = 0.1
"""How often progress is shown and an interrupt is noticed."""
STOP_S: Final = 1.0
"""How long a worker may take to notice that it should stop, before its face process is ended."""


@dataclass(frozen=True)
class Skipped:
    """A recording that was left as it is."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """A recording that could not be used; ``for_all`` means that the next one would fail as well."""

    reason: str
    for_all: bool = False


@dataclass(frozen=True)
class Finished:
    """What became of one recording."""

    recording: Recording
    result: Ingested | Skipped | Failed
    notes: tuple[str, ...]
    """What a person should know of it, in sentences."""


@dataclass(frozen=True)
class Standing:
    """How far all of it is."""

    recordings: int
    finished: int
    frames: int
    """Analysed so far, of all recordings."""
    total: int | None
    """Frames of all recordings; None while that is not known, or for ever where a file does not say."""
    frames_per_s: float
    """Since the first frame, over all workers."""
    in_work: tuple[tuple[str, int, int], ...]
    """Name, frames done and frames expected (0 where unknown) of each recording in work."""


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Raised in a worker that was told to stop."""


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ingest_many(
    site: Site,
    recordings: Sequence[Recording],
    choices: Choices,
    workers: int,
    take: Callable[[Finished], None],
    show: Callable[[Standing], None],
) -> None:
    """Ingest ``recordings``, ``workers`` at a time.

    Parameters
    ----------
    take : gets each result as it comes, in this thread. After a failure that is ``for_all`` no more come.
    show : gets the standing about ten times a second, in this thread.

    Raises
    ------
    KeyboardInterrupt
        The caller's own, once the workers have stopped; recordings in work left nothing behind.
    """
    with KnownRecordings(site) as known:
        crew = _Crew(site, recordings, choices, known)
        try:
            crew.start(min(workers, len(recordings)))
            shown = time.monotonic()
            for _ in recordings:
                while (finished := crew.next_finished(TICK_S)) is None:
                    show(crew.standing())
                take(finished)
                if time.monotonic() - shown > TICK_S:  # not for each of a thousand that are skipped
                    shown = time.monotonic()
                    show(crew.standing())
                if isinstance(finished.result, Failed) and finished.result.for_all:
                    break
            show(crew.standing())
        finally:
            crew.stop()


@dataclass
class _Progress:
    """One recording's; written by its worker, read by the screen."""

    done: int = 0
    expected: int | None = None
    """None where it is not known (yet)."""
    in_work: bool = False
    finished: bool = False


class _Crew:
    """The worker threads and what they share."""

    def __init__(
        self, site: Site, recordings: Sequence[Recording], choices: Choices, known: KnownRecordings
    ) -> None:
        self._site, self._choices, self._known = site, choices, known
        self._recordings = recordings
        self._progress = [_Progress() for _ in recordings]
        self._jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, Finished]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._workers: list[tuple[threading.Thread, FaceSeat]] = []
        self._first_frame_at: float | None = None
        # Of the same content twice the one with ratings goes first, and the other waits for its end.
        self._ended = [threading.Event() for _ in recordings]
        groups = probably_twins(recordings)
        self._after = {later: earlier for twins in groups for earlier, later in pairwise(twins)}
        self._waiting = {place: rank for twins in groups for rank, place in enumerate(twins)}

    def start(self, workers: int) -> None:
        # Those that wait for another come behind it in the queue, so that none waits for ever.
        for index in sorted(range(len(self._recordings)), key=lambda place: self._waiting.get(place, 0)):
            self._jobs.put(index)
        for _ in range(workers):
            seat = FaceSeat(self._choices.confined)
            # Daemons: should one hang inside a decoder, an interrupted command still ends.
            thread = threading.Thread(target=self._work, args=(seat,), daemon=True)
            self._workers.append((thread, seat))
            thread.start()
        threading.Thread(target=self._count, daemon=True).start()

    def next_finished(self, wait_s: float) -> Finished | None:
        try:
            index, finished = self._results.get(timeout=wait_s)
        except queue.Empty:
            return None
        self._progress[index].finished = True
        return finished

    def standing(self) -> Standing:
        frames = sum(each.done for each in self._progress)
        expected = [each.done if each.finished else each.expected for each in self._progress]
        known = [
            max(each.done, frames)
            for each, frames in zip(self._progress, expected, strict=True)
            if frames is not None
        ]
        seconds = time.monotonic() - self._first_frame_at if self._first_frame_at is not None else 0.0
        return Standing(
            recordings=len(self._recordings),
            finished=sum(each.finished for each in self._progress),
            frames=frames,
            total=sum(known) if len(known) == len(expected) else None,
            frames_per_s=frames / seconds if seconds > 0 else 0.0,
            in_work=tuple(
                (recording.path.name, each.done, each.expected or 0)
                for recording, each in zip(self._recordings, self._progress, strict=True)
                if each.in_work
            ),
        )

    def stop(self) -> None:
        """Have every worker leave its recording; one that does not is left to the end of this process."""
        self._stopping.set()
        end = time.monotonic() + STOP_S
        for thread, _ in self._workers:
            thread.join(max(end - time.monotonic(), 0.0))
        for thread, seat in self._workers:
            if thread.is_alive():  # waiting for a frame that takes long
                seat.end_from_outside()
        end = time.monotonic() + STOP_S
        for thread, _ in self._workers:
            thread.join(max(end - time.monotonic(), 0.0))

    def _work(self, seat: FaceSeat) -> None:
        with seat:
            while not self._stopping.is_set():
                try:
                    index = self._jobs.get_nowait()
                except queue.Empty:
                    return
                progress = self._progress[index]
                progress.in_work = True
                notes: list[str] = []
                try:
                    result = self._result(index, progress, seat, notes)
                except _Stopped:
                    return
                finally:
                    progress.in_work = False
                self._ended[index].set()
                self._results.put((index, Finished(self._recordings[index], result, tuple(notes))))

    def _result(
        self, index: int, progress: _Progress, seat: FaceSeat, notes: list[str]
    ) -> Ingested | Skipped | Failed:
        recording = self._recordings[index]

        def advance(done: int, expected: int) -> None:
            self._check_on()
            if self._first_frame_at is None:
                self._first_frame_at = time.monotonic()
            progress.done, progress.expected = done, expected or progress.expected

        try:
            self._wait_for_twin(index)
            report = Report(advance, self._check_on, notes.append)
            return ingest_recording(self._site, recording, self._choices, self._known, seat, report)
        except AlreadyHereError as error:
            return Skipped(why_skipped(error, recording, self._choices))
        except BeingIngestedError as error:
            return Skipped(str(error))
        except StorageError as error:  # a full disk is full for the next one, too
            return Failed(str(error), for_all=True)
        except ConfinementError as error:
            self._check_on()  # ended by ourselves, to stop
            seat.leave()
            return Failed(str(error), for_all=not seat.ever_taken)
        except MienError as error:
            return Failed(str(error))
        except _Stopped:
            raise
        except Exception as error:  # whatever broke, the other recordings shall not suffer from it
            log.exception("ingest broke recording=%s", recording.path)
            return Failed(f"{type(error).__name__}: {error}. This is a fault of Mien; please report it.")

    def _wait_for_twin(self, index: int) -> None:
        if index in self._after:
            while not self._ended[self._after[index]].wait(TICK_S):
                self._check_on()

    def _check_on(self) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _count(self) -> None:
        """Ask every file how many frames it announces, beside the work, for the time left."""
        for recording, progress in zip(self._recordings, self._progress, strict=True):
            if self._stopping.is_set():
                return
            if progress.expected is None:
                progress.expected = announced_frames(recording)
