"""The face process: frames go in by shared memory, 20 numbers a frame come out of a pipe.

Enters: BGR frames with time stamps, from :mod:`mien_client.capture`. Leaves: action units and head
pose per frame (:class:`Observation`). Never leaves: the frame, the landmarks, the blendshapes.
The child (:mod:`mien_client.face_worker`) confines itself before it loads MediaPipe. The frames cross
in anonymous shared memory that has no name in any file system, and are overwritten after use.
"""

import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import ConfinementError

from .frames import Frame
from .observations import FaceState, Observation

SLOTS: Final = 3
"""Frames in flight: one being decoded while another is being analysed, one to spare."""

FRAME_DEADLINE_S: Final = 20.0
START_DEADLINE_S: Final = 90.0

REQUEST: Final = struct.Struct("<IqII")
"""Slot, time stamp in ms, height, width."""
REPLY: Final = struct.Struct("<BI")
"""Kind, length of the payload that follows."""
READY, OBSERVED, LANDMARKS, FAILED = 1, 2, 3, 4
OBSERVATION: Final = struct.Struct("<BI20f")
"""State, which face, values."""
PAYLOAD_LIMIT_BYTES: Final = 64 * 1024

Outcome = Literal["action_units", "landmarks"]


class FaceProcess:
    """A confined process that looks at frames of one size, in rising time order.

    Parameters
    ----------
    height, width : of every frame, pixels.
    outcome : "action_units" for every agent. "landmarks" is for the lab's puppet, whose photograph
        is public; nothing on a site asks for it.

    Raises
    ------
    ConfinementError
        The process cannot be confined, dies, or does not answer in time.
    """

    def __init__(self, height: int, width: int, outcome: Outcome = "action_units") -> None:
        self._shape = (height, width, 3)
        self._slot_bytes = height * width * 3
        if not hasattr(os, "memfd_create"):
            raise ConfinementError(
                f"the face process can only be confined on Linux, this is {sys.platform}. "
                "Run the agent on Linux, or in a Linux container."
            )
        memory = os.memfd_create("mien-frames")
        try:
            os.ftruncate(memory, SLOTS * self._slot_bytes)
            with os.fdopen(os.dup(memory), "r+b") as file:
                self._frames = np.memmap(file, np.uint8, "r+", shape=(SLOTS, *self._shape))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-m", "mien_client.face_worker", str(memory), outcome],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # MediaPipe's chatter; errors of ours come as FAILED replies
                pass_fds=(memory,),
                env={"GLOG_minloglevel": "3", "PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # a Ctrl-C reaches the agent, which then ends the child in order
            )
        finally:
            os.close(memory)
        import cv2  # here, not above: the child imports this module too, and has no use for it

        self._to_rgb, self._rgb_order = cv2.cvtColor, cv2.COLOR_BGR2RGB
        self._in_flight: deque[float] = deque()
        self._next_slot = 0
        try:
            self._receive(READY, START_DEADLINE_S)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the confined child."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child and overwrite the shared frames."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _close_quietly(pipe)
        self._frames[...] = 0

    def analyse(self, frames: Iterable[Frame]) -> Iterator[Observation]:
        """Observations of ``frames``, in order; decoding overlaps with analysis."""
        for time_s, payload in self._answers(frames, OBSERVED):
            state, face, *values = OBSERVATION.unpack(payload)
            yield Observation(time_s, FaceState(state), np.array(values, np.float32), face)

    def landmarks(self, frames: Iterable[Frame]) -> Iterator[NDArray[np.float32] | None]:
        """(478, 3) pixels per frame, None where there is no face; for outcome "landmarks"."""
        for _, payload in self._answers(frames, LANDMARKS):
            yield np.frombuffer(payload, np.float32).reshape(-1, 3).copy() if payload else None

    def _answers(self, frames: Iterable[Frame], kind: int) -> Iterator[tuple[float, bytes]]:
        for frame in frames:
            if len(self._in_flight) == SLOTS:
                yield self._collect(kind)
            self._submit(frame)
        while self._in_flight:
            yield self._collect(kind)

    def _submit(self, frame: Frame) -> None:
        if frame.bgr.shape != self._shape or frame.bgr.dtype != np.uint8:
            raise ConfinementError(
                f"a frame is {frame.bgr.shape}, this face process was made for {self._shape}"
            )
        slot = self._next_slot
        self._next_slot = (slot + 1) % SLOTS
        self._to_rgb(frame.bgr, self._rgb_order, dst=self._frames[slot])
        height, width, _ = self._shape
        request = REQUEST.pack(slot, round(frame.time_s * 1000), height, width)
        try:
            _pipe(self._process.stdin).write(request)
            _pipe(self._process.stdin).flush()
        except OSError as error:
            raise self._died() from error
        self._in_flight.append(frame.time_s)

    def _collect(self, kind: int) -> tuple[float, bytes]:
        payload = self._receive(kind, FRAME_DEADLINE_S)
        lengths = (OBSERVATION.size,) if kind == OBSERVED else (0, 478 * 3 * 4)
        if len(payload) not in lengths:
            raise ConfinementError(f"the face process sent a reply of {len(payload)} bytes")
        return self._in_flight.popleft(), payload

    def _receive(self, wanted: int, deadline_s: float) -> bytes:
        """One reply; ``wanted`` names the only kind that will do, besides FAILED."""
        end = time.monotonic() + deadline_s
        kind, length = REPLY.unpack(self._read(REPLY.size, end))
        if length > PAYLOAD_LIMIT_BYTES or kind not in (wanted, FAILED):
            raise ConfinementError(f"the face process sent a reply of kind {kind} and {length} bytes")
        payload = self._read(length, end)
        if kind == FAILED:
            raise ConfinementError(str(json.loads(payload)["error"]))
        return payload

    def _read(self, size: int, end: float) -> bytes:
        pipe, content = _pipe(self._process.stdout), b""
        while len(content) < size:
            readable, _, _ = select.select([pipe], [], [], max(end - time.monotonic(), 0.0))
            if not readable:
                self._process.kill()
                raise ConfinementError(
                    "the face process did not answer in time and was ended. Try again; if it happens again "
                    "with this video, convert the video first."
                )
            piece = os.read(pipe.fileno(), size - len(content))
            if not piece:
                raise self._died()
            content += piece
        return content

    def _died(self) -> ConfinementError:
        status = self._process.wait()
        return ConfinementError(
            f"the face process ended unexpectedly (status {status}). Nothing was written; try again."
        )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ConfinementError("the face process has no pipe")
    return pipe


def _close_quietly(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return
