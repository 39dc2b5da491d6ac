"""The child side of the face process: confines itself, then turns frames into numbers.

Started by :class:`mien_client.face_process.FaceProcess` as ``python -m mien_client.face_worker FD OUTCOME``.
Enters: frames in shared memory. Leaves: replies on standard output, by the formats in ``face_process``.
Never leaves: pixels.
"""

import json
import os
import sys
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from mien_client.confinement import confine
from mien_client.face_process import (
    FAILED,
    LANDMARKS,
    OBSERVATION,
    OBSERVED,
    READY,
    REPLY,
    REQUEST,
    SLOTS,
)
from mien_common.errors import MienError

_REQUESTS, _REPLIES = 0, 1


def main() -> int:
    """Answer requests until the parent closes the pipe; the exit status."""
    memory, outcome = int(sys.argv[1]), sys.argv[2]
    frames = np.memmap(os.fdopen(memory, "r+b"), np.uint8, "r+")
    try:
        confine()
        _answer(frames, outcome)
    except (MienError, ValueError, RuntimeError) as error:
        _reply(FAILED, json.dumps({"error": str(error)}).encode())
        return 1
    except BrokenPipeError:  # the agent is gone; nobody is left to answer
        return 0
    return 0


def _answer(frames: NDArray[np.uint8], outcome: str) -> None:
    from mien_client.face_finder import FaceFinder

    # MediaPipe's drawing helpers, unused here, import matplotlib, which insists on a folder to write to.
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules[name] = ModuleType(name)
    with FaceFinder() as finder:
        _reply(READY, b"")
        last_ms = -1
        while request := _read(REQUEST.size):
            slot, timestamp_ms, height, width = REQUEST.unpack(request)
            size = height * width * 3
            if slot >= SLOTS or (slot + 1) * size > frames.size:
                raise ValueError(f"request for slot {slot} of {height}×{width} is outside the shared memory")
            rgb = frames[slot * size : (slot + 1) * size].reshape(height, width, 3)
            last_ms = max(timestamp_ms, last_ms + 1)
            if outcome == "landmarks":
                points = finder.landmarks(rgb, last_ms)
                kind, payload = LANDMARKS, b"" if points is None else points.tobytes()
            else:
                look = finder.look(rgb, last_ms)
                kind, payload = OBSERVED, OBSERVATION.pack(look.state, look.face, *look.values)
            rgb[...] = 0
            _reply(kind, payload)


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
