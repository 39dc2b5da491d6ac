"""Where to look for faces besides the one in sight. Runs inside the face process only.

Enters: frames without a face, or with one that is followed. Leaves: boxes, to
:mod:`mien_client.face.finder`. Never leaves the process: either.

Two questions, each at a bounded price per frame: where is a face that the landmarker misses
(:class:`MissedFaces`), and is another face larger than the one followed (:class:`LargerFaces`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.face.detector import FaceBox, FaceDetector
from mien_client.face.windows import Window, search_windows, window_about


@dataclass(frozen=True)
class SearchLimits:
    """What counts as a face, and when to look; each figure is measured, see ``docs/missing.md``."""

    least_score: float = 0.7
    """Of a face in a window. Faces of an eighth to a third of the window score 0.9 and more on the real
    clips; pictures without a face stay below 0.5."""
    window_sides: float = 4.0
    """Side of the window in which a face is followed, in sides of its box."""
    window_shares: tuple[float, ...] = (0.75, 0.5, 0.25, 0.125)
    """Scales of search, as shares of the frame's shorter side."""
    least_window_px: int = 240
    """A face of 36 pixels, the least that can be measured, is an eighth of 240 and still found."""
    windows_a_round: int = 60
    most_at_once: int = 3
    """A scale is gone through in 60 frames, two seconds, by up to three windows of 2 to 3 ms a frame."""
    near_for_s: float = 2.0
    """How long a lost face is looked for about its last place."""
    check_every_s: float = 1.0
    """Between looks for a larger face: about 3 ms each, 1 % of the landmarker's time at 30 frames/s."""
    recheck_every_s: float = 0.2
    """Between looks while one is suspected."""
    checks: int = 4
    """Looks in a row that must agree before the followed face is left."""
    larger_by: float = 1.3
    """How much larger another face must be: boxes of one face differ by less than 1.15 from frame to
    frame, and after a switch the way back takes 1.3 again, so two alike never take turns."""


LIMITS: Final = SearchLimits()


class MissedFaces:
    """Looks through a few windows of each frame that shows no face; the next frame's are others."""

    def __init__(self, detector: FaceDetector, limits: SearchLimits = LIMITS) -> None:
        self._detector = detector
        self._limits = limits
        self._shape: tuple[int, ...] = ()
        self._scales: list[list[Window]] = []
        self._turn = 0

    def next(self, rgb: NDArray[np.uint8], last: FaceBox | None) -> FaceBox | None:
        """The largest face in this frame's windows: some of each scale, and one about the last face.

        Parameters
        ----------
        last : where the face was before it was lost, if that is not long ago.
        """
        if rgb.shape != self._shape:
            self._shape, self._turn = rgb.shape, 0
            height, width = rgb.shape[:2]
            self._scales = search_windows(
                height, width, self._limits.window_shares, self._limits.least_window_px
            )
        windows = [window for scale in self._scales for window in self._due(scale)]
        self._turn += 1
        if last is not None:
            windows.append(window_about(last.x, last.y, last.side * self._limits.window_sides, rgb.shape))
        boxes = [box for window in windows for box in boxes_in(self._detector, rgb, window, self._limits)]
        return max(boxes, key=lambda box: box.side, default=None)

    def _due(self, scale: list[Window]) -> list[Window]:
        """A scale's windows for this frame: one, or a few of a scale that would take seconds else."""
        count = min(-(-len(scale) // self._limits.windows_a_round), self._limits.most_at_once)
        return [scale[(self._turn * count + number) % len(scale)] for number in range(count)]

    def about(self, rgb: NDArray[np.uint8], box: FaceBox) -> list[FaceBox]:
        """The sure faces close about a place."""
        window = window_about(box.x, box.y, box.side * self._limits.window_sides, rgb.shape)
        return boxes_in(self._detector, rgb, window, self._limits)


class LargerFaces:
    """Looks, rarely, for a face that is clearly larger than the one followed."""

    def __init__(self, detector: FaceDetector, limits: SearchLimits = LIMITS) -> None:
        self._detector = detector
        self._limits = limits
        self._missed = MissedFaces(detector, limits)
        self._next_ms = 0
        self._suspect: FaceBox | None = None
        self._agreed = 0

    def now(self, rgb: NDArray[np.uint8], followed: FaceBox) -> FaceBox | None:
        """A clearly larger face in this frame."""
        boxes = self._detector.find(rgb)
        if followed.side < min(rgb.shape[:2]) / 8:  # a larger one may still be too small for the whole frame
            elsewhere = self._missed.next(rgb, None)
            boxes += [elsewhere] if elsewhere else []
        larger = [
            near
            for box in boxes
            if not followed.holds(box.x, box.y) and self._beats(box, followed)
            # In the whole frame a small face's box comes out up to twice too large; so look closely.
            for near in self._closely(rgb, box)
            if not followed.holds(near.x, near.y) and self._beats(near, followed)
        ]
        return max(larger, key=lambda box: box.side, default=None)

    def due(self, rgb: NDArray[np.uint8], followed: FaceBox, timestamp_ms: int) -> FaceBox | None:
        """A face that has been clearly larger for several looks in a row; mostly it is not time to look."""
        if timestamp_ms < self._next_ms:
            return None
        larger = self.now(rgb, followed)
        same = larger is not None and self._suspect is not None and self._suspect.holds(larger.x, larger.y)
        self._suspect = larger
        self._agreed = (self._agreed + 1 if same else 1) if larger else 0
        pause_s = self._limits.recheck_every_s if larger else self._limits.check_every_s
        self._next_ms = timestamp_ms + round(pause_s * 1000)
        if self._agreed < self._limits.checks:
            return None
        self._suspect, self._agreed = None, 0
        return larger

    def _beats(self, box: FaceBox, followed: FaceBox) -> bool:
        return box.side > followed.side * self._limits.larger_by

    def _closely(self, rgb: NDArray[np.uint8], box: FaceBox) -> list[FaceBox]:
        window = window_about(box.x, box.y, box.side * self._limits.window_sides / 2, rgb.shape)
        return boxes_in(self._detector, rgb, window, self._limits)


def boxes_in(
    detector: FaceDetector, rgb: NDArray[np.uint8], window: Window, limits: SearchLimits = LIMITS
) -> list[FaceBox]:
    """The sure faces in a part of a frame, in the frame's pixels."""
    found = detector.find(window.pixels(rgb), window.left, window.top)
    return [box for box in found if box.score >= limits.least_score]
