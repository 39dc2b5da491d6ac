"""The face process: frames go in by shared memory, 20 numbers a frame come out of a pipe.

Enters: BGR frames with time stamps, from a source. Leaves: action units and head pose per frame
(:class:`Observation`). Never leaves: the frame, the landmarks, the blendshapes.
The child (:mod:`mien_client.face.worker`) confines itself before it loads MediaPipe. The frames cross
in anonymous shared memory that has no name in any file system, and are overwritten after use.

One process serves many recordings. When it dies or hangs it is ended and another is started; the frames
it held are lost, and said to be (``FaceState.NO_FRAME``), and the recording goes on.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_common.errors import ConfinementError, FaceProcessDiedError

from ..frames import Frame
from ..observations import FaceState, Observation, nothing_seen
from .child import FaceChild
from .protocol import (
    BEGIN,
    FRAME,
    LANDMARKS,
    LANDMARKS_BYTES,
    OBSERVATION,
    OBSERVATION_HEAD,
    OBSERVED,
    Outcome,
)

FRAME_DEADLINE_S: Final = 10.0
"""A frame takes about 0.01 s, a 4K frame 0.1 s; a machine that swaps is slower, never this slow."""
START_DEADLINE_S: Final = 90.0

MOST_LOST_S: Final = 1.0
"""Of a recording that is not live, when a process dies."""
MOST_RESTARTS: Final = 4
"""In a row, without :data:`PROOF_FRAMES` in between: then every frame kills it, or the machine does."""
PROOF_FRAMES: Final = 25

_log = logging.getLogger(__name__)


@cache
def _say_once(text: str) -> None:
    _log.warning(text)


class FaceProcess:
    """A confined process that looks at recordings one after the other, each in rising time order.

    Use one object from one thread at a time; any number of objects may live beside each other.

    Parameters
    ----------
    height, width : of the largest frame to come, pixels; where a larger one comes after all, the process
        is started again with more room. Memory is taken only as frames need it.
    outcome : "action_units" for every agent. "landmarks" is for the lab's puppet, whose photograph
        is public; nothing on a site asks for it.
    confined : False only where the user said ``--allow-unconfined-face-process``.
    frame_deadline_s : a process that needs longer for one frame is taken to hang.

    Raises
    ------
    ConfinementError
        The process cannot be confined, its model is damaged, or it keeps dying.
    """

    def __init__(
        self,
        height: int,
        width: int,
        outcome: Outcome = "action_units",
        *,
        confined: bool = True,
        frame_deadline_s: float = FRAME_DEADLINE_S,
    ) -> None:
        self.restarts = 0
        """How often another process had to take over."""
        self._outcome: Outcome = outcome
        self._confined = confined
        self._frame_deadline_s = frame_deadline_s
        self._in_flight: deque[float] = deque()
        self._lost = 0
        """How many of the oldest in flight were lost with their process."""
        self._next_slot = 0
        self._failures_in_a_row = 0
        self._observed_since_start = 0
        self._face = self._first_face = 0
        self._fresh = True
        self._stopped = False
        self._child = FaceChild(height * width * 3, outcome, confined)
        try:
            self._wait_until_ready(first=True)
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """End the child for good, from any thread: the thread that waits for it gets ConfinementError."""
        self._stopped = True
        self._child.kill()

    @property
    def pid(self) -> int:
        """Process id of the child that looks at frames now."""
        return self._child.pid

    @property
    def confinement(self) -> dict[str, object]:
        """What confines the child, in its own words: ``confined``, ``seccomp``, ``landlock_abi``.

        ``slow_because`` says why frames take the slower way into MediaPipe, where they do.
        """
        return self._child.confinement

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child and overwrite the shared frames."""
        self._child.close()

    def analyse(self, frames: Iterable[Frame]) -> Iterator[Observation]:
        """Observations of a new recording's ``frames``, in order; decoding overlaps with analysis."""
        self.begin()
        for time_s, payload in self._answers(frames, OBSERVED):
            yield self._observation(time_s, payload)

    def landmarks(self, frames: Iterable[Frame]) -> Iterator[NDArray[np.float32] | None]:
        """(478, 3) pixels per frame, None where there is no face; for outcome "landmarks"."""
        self.begin()
        for _, payload in self._answers(frames, LANDMARKS):
            yield np.frombuffer(payload, np.float32).reshape(-1, 3).copy() if payload else None

    def begin(self) -> None:
        """Start a new recording: what the child remembers of earlier frames is forgotten."""
        while self._in_flight:  # a recording that was left half-way
            self._collect(OBSERVED if self._outcome == "action_units" else LANDMARKS)
        self._face = self._first_face = 0
        if not self._fresh:
            self._fresh = True
            self._send(BEGIN)

    def observe(self, frame: Frame) -> Observation:
        """One frame's observation at once, for a live recording; :meth:`begin` starts another recording.

        While a process that died is being replaced, frames are ``NO_FRAME`` without waiting for it.
        """
        if not self._child.is_ready and not self._ready_now():
            return nothing_seen(frame.time_s, FaceState.NO_FRAME, self._face)
        self._submit(frame)
        return self._observation(*self._collect(OBSERVED))

    def _answers(self, frames: Iterable[Frame], kind: int) -> Iterator[tuple[float, bytes | None]]:
        for frame in frames:
            # Several at a time: where both processes share a core, each then finds its caches warm (6 %).
            if self._is_full(frame):
                while len(self._in_flight) > self._child.slots // 4 or self._is_full(frame):
                    yield self._collect(kind)
            self._wait_until_ready()
            self._submit(frame)
        while self._in_flight:
            yield self._collect(kind)

    def _is_full(self, frame: Frame) -> bool:
        """Whether answers must be had before another frame is handed over.

        Frames in flight are lost with their process, so they never make more than a second.
        """
        return bool(self._in_flight) and (
            len(self._in_flight) == self._child.slots
            or frame.time_s - self._in_flight[0] >= MOST_LOST_S
            or self._too_large(frame)
        )

    def _observation(self, time_s: float, payload: bytes | None) -> Observation:
        if payload is None:
            return nothing_seen(time_s, FaceState.NO_FRAME, self._face)
        state, face = OBSERVATION_HEAD.unpack_from(payload)
        self._face = self._first_face + face
        values = np.frombuffer(payload, "<f4", offset=OBSERVATION_HEAD.size).astype(np.float32)
        return Observation(time_s, FaceState(state), values, self._face)

    def _submit(self, frame: Frame) -> None:
        """Hand a frame to the child, which must be ready."""
        if (
            frame.bgr.ndim != 3
            or frame.bgr.shape[2] != 3
            or frame.bgr.dtype != np.uint8
            or not frame.bgr.size
        ):
            raise ConfinementError(
                f"a frame is {frame.bgr.dtype} of shape {frame.bgr.shape}; the face process takes uint8 "
                "of (height, width, 3)"
            )
        if self._too_large(frame):
            self._make_room(frame.bgr.size)
        height, width, _ = frame.bgr.shape
        slot = self._next_slot
        self._next_slot = (slot + 1) % self._child.slots
        cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2RGB, dst=self._child.slot(slot, height, width))
        self._in_flight.append(frame.time_s)
        self._fresh = False
        self._send(FRAME, slot, round(frame.time_s * 1000), height, width)

    def _send(self, kind: int, slot: int = 0, timestamp_ms: int = 0, height: int = 0, width: int = 0) -> None:
        try:
            self._child.send(kind, slot, timestamp_ms, height, width)
        except FaceProcessDiedError as error:
            self._replace(error)

    def _collect(self, kind: int) -> tuple[float, bytes | None]:
        """The oldest frame's time and answer; None where it was lost with its process."""
        if not self._lost:
            try:
                payload = self._child.receive(kind, self._frame_deadline_s)
                if len(payload) not in ((OBSERVATION.size,) if kind == OBSERVED else (0, LANDMARKS_BYTES)):
                    raise FaceProcessDiedError(f"the face process sent a reply of {len(payload)} bytes")
            except FaceProcessDiedError as error:
                self._replace(error)
            else:
                self._observed_since_start += 1
                if self._observed_since_start == PROOF_FRAMES:
                    self._failures_in_a_row = 0
                return self._in_flight.popleft(), payload
        self._lost -= 1
        return self._in_flight.popleft(), None

    def _replace(self, error: FaceProcessDiedError) -> None:
        """Give up what is in flight and start another child; it need not be ready when this returns."""
        self._child.close()
        if self._stopped:
            raise ConfinementError("the face process was stopped before the recording's end") from error
        self._lost = len(self._in_flight)
        self._failures_in_a_row += 1
        if self._failures_in_a_row > MOST_RESTARTS:
            raise ConfinementError(
                f"{error}, for the {self._failures_in_a_row}th time in a row. Convert the video and try "
                "again; if every video ends so, look whether the machine has memory left."
            ) from error
        self.restarts += 1
        _log.warning("%s; another takes over, frames lost: %d", error, self._lost)
        self._start(self._child.slot_bytes)

    def _too_large(self, frame: Frame) -> bool:
        return frame.bgr.size > self._child.slot_bytes

    def _make_room(self, frame_bytes: int) -> None:
        """Start again with larger slots; nothing is in flight."""
        self._child.close()
        self._start(frame_bytes)
        self._wait_until_ready()

    def _start(self, slot_bytes: int) -> None:
        self._child = FaceChild(slot_bytes, self._outcome, self._confined)
        self._next_slot = 0
        self._observed_since_start = 0
        # The new child counts faces from 0. Whoever it finds is taken for the one who was followed last.
        self._first_face = self._face
        self._fresh = True
        if self._stopped:  # while the new one was being started
            self._child.kill()

    def _wait_until_ready(self, first: bool = False) -> None:
        while not self._child.is_ready:
            try:
                if not self._child.ready(START_DEADLINE_S):
                    raise FaceProcessDiedError(
                        f"the face process was not ready after {START_DEADLINE_S:g} s and was ended"
                    )
            except FaceProcessDiedError as error:
                if first:
                    raise ConfinementError(f"{error} before its first frame. Try again.") from error
                self._replace(error)
        if first:
            self._say_what_is_missing()

    def _say_what_is_missing(self) -> None:
        if self._confined and not self.confinement["landlock_abi"]:
            _say_once(
                "this kernel has no Landlock: seccomp alone confines the face process, which could read files"
            )
        if self.confinement["slow_because"]:
            _say_once(f"frames take the slower way into MediaPipe: {self.confinement['slow_because']}")

    def _ready_now(self) -> bool:
        try:
            return self._child.ready(0.0)
        except FaceProcessDiedError as error:
            self._replace(error)
            return False
