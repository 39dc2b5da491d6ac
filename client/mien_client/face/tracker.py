"""The landmarker, looking through a window that may move. Runs inside the face process only.

Enters: frames in time order, each with the window to look through. Leaves: the face in the frame's
pixels. Never leaves the process: either.

The landmarker remembers where in its picture the last face was, as a share of the picture. A window
that moves would send it to the wrong place for a frame, or leave it on another face, so it is made to
forget first: it is shown a black picture.
"""

from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from mien_client.face.landmarks import Face, Landmarker
from mien_client.face.windows import Window

_BLACK: Final = np.zeros((64, 64, 3), np.uint8)


class Tracker:
    """One recording's landmarker; time stamps of any order and distance become strictly rising."""

    def __init__(self) -> None:
        self._landmarker = Landmarker()
        self._last_ms = -1
        self._remembers: tuple[Window | None, tuple[int, ...]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._landmarker.__exit__(kind, error, trace)

    def find(self, rgb: NDArray[np.uint8], timestamp_ms: int, window: Window | None) -> Face | None:
        """The face seen through a window, or in the whole frame without one; in the frame's pixels."""
        view = (window, rgb.shape)
        if self._remembers not in (None, view):
            self._landmarker.find(_BLACK, self._rising(timestamp_ms))
        picture = rgb if window is None else window.pixels(rgb)
        face = self._landmarker.find(picture, self._rising(timestamp_ms))
        self._remembers = None if face is None else view
        return face if face is None or window is None else window.in_frame(face, rgb.shape)

    def _rising(self, timestamp_ms: int) -> int:
        self._last_ms = max(timestamp_ms, self._last_ms + 1)
        return self._last_ms
