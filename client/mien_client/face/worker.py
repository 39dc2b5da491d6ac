"""The child side of the face process: confines itself, then turns frames into numbers.

Started by :class:`mien_client.face.child.FaceChild` as ``python -m mien_client.face.worker FD SLOT_BYTES
OUTCOME CONFINED``. Enters: frames in shared memory. Leaves: replies on standard output, by the formats in
:mod:`mien_client.face.protocol`. Never leaves: pixels.
"""

import gc
import json
import os
import select
import sys
import threading
from dataclasses import asdict
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from mien_client.face.confinement import confine
from mien_client.face.frame_memory import map_and_close
from mien_client.face.protocol import (
    BEGIN,
    FAILED,
    LANDMARKS,
    OBSERVATION,
    OBSERVED,
    READY,
    REPLY,
    REQUEST,
    slots_of,
)
from mien_common.errors import MienError

_REQUESTS, _REPLIES, _ERRORS = 0, 1, 2

_UNUSED = (
    *("matplotlib", "matplotlib.pyplot", "sounddevice"),
    *(f"mediapipe.tasks.python.{part}" for part in ("audio", "decision", "retrieval", "text")),
)
"""MediaPipe imports these for drawing, sound and text. They want folders and sound cards, and time."""


def main() -> int:
    """Answer requests until the parent closes the pipe; the exit status."""
    memory, slot_bytes, outcome = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    ring_bytes = slots_of(slot_bytes) * slot_bytes
    try:
        frames = map_and_close(memory, ring_bytes)
        _own_errors()
        report: dict[str, object] = {"confined": False}
        if sys.argv[4] != "unconfined":
            report = {"confined": True, **asdict(confine(ring_bytes))}
        threading.Thread(target=_end_with_the_agent, daemon=True).start()
        _answer(frames, slot_bytes, outcome, report)
    except (MienError, ValueError, RuntimeError, OSError) as error:
        try:
            _reply(FAILED, json.dumps({"error": str(error)}).encode())
        except BrokenPipeError:  # the agent is gone; nobody is left to tell
            return 0
        return 1
    return 0


def _answer(frames: NDArray[np.uint8], slot_bytes: int, outcome: str, report: dict[str, object]) -> None:
    for name in _UNUSED:
        sys.modules[name] = ModuleType(name)
    from mien_client.face.finder import FaceFinder
    from mien_client.face.mediapipe_direct import unavailable_because

    finder = FaceFinder()
    report["slow_because"] = unavailable_because()
    gc.freeze()  # what the imports made stays; the collector need not walk it again and again
    _reply(READY, json.dumps(report).encode())
    last_ms = -1
    while request := _read(REQUEST.size):
        kind, slot, timestamp_ms, height, width = REQUEST.unpack(request)
        if kind == BEGIN:
            finder.__exit__(None, None, None)
            finder, last_ms = FaceFinder(), -1
            continue
        size = height * width * 3
        if slot >= slots_of(slot_bytes) or size > slot_bytes:
            raise ValueError(f"a request for slot {slot} of {height}×{width} is outside the shared memory")
        start = slot * slot_bytes
        rgb = frames[start : start + size].reshape(height, width, 3)
        last_ms = max(timestamp_ms, last_ms + 1)
        if outcome == "landmarks":
            points = finder.landmarks(rgb, last_ms)
            answer, payload = LANDMARKS, b"" if points is None else points.tobytes()
        else:
            look = finder.look(rgb, last_ms)
            answer, payload = OBSERVED, OBSERVATION.pack(look.state, look.face, *look.values)
        rgb[...] = 0
        _reply(answer, payload)


def _own_errors() -> None:
    """Take a null device of our own for standard error: no descriptor but the two pipes is inherited."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _ERRORS)
    os.close(null)


def _end_with_the_agent() -> None:
    """End when the agent is gone, also while a frame hangs; the main thread notices only between frames."""
    poll = select.poll()
    poll.register(_REQUESTS, 0)  # hang-up is reported whatever is asked for
    poll.poll()
    os._exit(0)


def _read(size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = os.read(_REQUESTS, size - len(content))
        if not piece:
            return b""
        content += piece
    return content


def _reply(kind: int, payload: bytes) -> None:
    os.write(_REPLIES, REPLY.pack(kind, len(payload)) + payload)


if __name__ == "__main__":
    sys.exit(main())
