"""Follows one person's face through a recording's frames. Runs inside the face process only.

Enters: RGB frames in time order. Leaves: what :mod:`~mien_client.face.action_units` measures of the face
that is followed, and why it is missing where it is. Never leaves: the frame, landmarks, blendshapes.

A face that the landmarker finds in the whole frame costs nothing more. One that it misses is looked
for in windows (:mod:`mien_client.face.search`) and, once found, followed through a window of its own
(:mod:`mien_client.face.tracker`). Of several faces the largest is followed; where the followed face becomes
another's, ``face`` counts one up.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from mien_client.face.action_units import measure
from mien_client.face.coverage import CHANNELS_OF_PARTS, Coverage
from mien_client.face.detector import FaceBox, FaceDetector
from mien_client.face.landmarks import Face
from mien_client.face.search import LIMITS, LargerFaces, MissedFaces
from mien_client.face.tracker import Tracker
from mien_client.face.validity import face_width_px, judge
from mien_client.face.windows import Window, window_about
from mien_client.observations import FaceState
from mien_common.schema import AU_CHANNELS, STATIC_CHANNELS

_LEAST_DETECTION: Final = 0.3
"""The detector names what it is this sure of; what is believed is :class:`SearchLimits`' business."""
_OUTLINE: Final = (10, 152)
"""Top of the forehead and tip of the chin, in MediaPipe's mesh; the face's middle lies between."""
_BOX_PER_WIDTH: Final = 1.05
"""Side of the detector's box about a face, in widths of the landmarker's (mean of the real clips)."""
_LEAST_WINDOW_PX: Final = 128
"""A smaller window shows the landmarker fewer pixels than it can take."""

# A lost face that is found again is another person's when nobody moves so fast. A head moves about three
# of its own widths in a second at most, and a face found anew is measured up to a third differently.
_STEP_WIDTHS: Final = 1.0
_SPEED_WIDTHS_PER_S: Final = 3.0
_GROWTH: Final = 1.6
_SURE_FRAMES: Final = 3
"""Frames in a row before a face found elsewhere is believed to be another's; missing until then. Under a
hand the landmarker sees a face here or there for a frame or two."""


@dataclass(frozen=True)
class Look:
    """What one frame shows."""

    state: FaceState
    values: NDArray[np.float32]
    """(20,) as in :class:`~mien_client.observations.Observation`."""
    face: int


class FaceFinder:
    """One recording's search for a face; it keeps tracking state, so make a new one per recording."""

    def __init__(self) -> None:
        self._open = ExitStack()
        with ExitStack() as opening:
            self._tracker = opening.enter_context(Tracker())
            detector = opening.enter_context(FaceDetector(_LEAST_DETECTION))
            self._open = opening.pop_all()
        self._missed = MissedFaces(detector)
        self._larger = LargerFaces(detector)
        self._coverage = Coverage()
        self._shape: tuple[int, ...] = ()
        self._window: Window | None = None
        self._last: FaceBox | None = None
        self._last_ms = 0
        self._in_sight = False
        self._doubtful = 0
        self._face = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def look(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> Look:
        """Measure the face in a frame.

        Parameters
        ----------
        rgb : (height, width, 3) uint8; the size may change from one frame to the next.
        timestamp_ms : strictly larger than the last frame's.
        """
        face = self._follow(rgb, timestamp_ms)
        if face is None:
            return Look(FaceState.NO_FACE, np.full(len(STATIC_CHANNELS), np.nan, np.float32), self._face)
        values, state = measure(face), judge(rgb, face)
        units = values[: len(AU_CHANNELS)]
        if state != FaceState.SEEN:
            units[:] = np.nan
        elif (covered := self._coverage.covered(rgb, face, timestamp_ms)).any():
            state = FaceState.COVERED
            units[CHANNELS_OF_PARTS[covered].any(axis=0)] = np.nan
        return Look(state, values, self._face)

    def landmarks(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> NDArray[np.float32] | None:
        """(478, 3) pixels, or None. For the lab's puppet, whose photograph is public; no site asks for it."""
        face = self._tracker.find(rgb, timestamp_ms, None)
        return None if face is None else face.points

    def _follow(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> Face | None:
        """The followed face in this frame, after a search or a switch where there is need."""
        if rgb.shape != self._shape:  # places in the last frame mean nothing in this one
            self._shape, self._window, self._last = rgb.shape, None, None
            self._in_sight, self._doubtful = False, 0
            self._coverage.start_over()
        face = self._tracker.find(rgb, timestamp_ms, self._window) or self._search(rgb, timestamp_ms)
        if face is None or not (self._in_sight or self._confirmed(face, rgb)):
            self._window, self._in_sight, self._doubtful = None, False, 0
            return None
        followed, before, box = self._in_sight, self._face, _box(face)
        self._in_sight = True
        larger = None
        if not followed:  # nobody is left by choosing the larger of two at once
            larger = self._larger.now(rgb, box)
        elif not self._doubtful:
            larger = self._larger.due(rgb, box, timestamp_ms)
        if larger is not None and (other := self._in_window_about(larger, rgb, timestamp_ms)) is not None:
            face, box = other, _box(other)
            self._face += followed
        self._keep_in_window(box)
        if (self._doubtful or not followed) and self._elsewhere(box, timestamp_ms):
            self._doubtful += 1
            if self._doubtful < _SURE_FRAMES:
                return None
            self._face += 1
        self._doubtful = 0
        if self._face != before or timestamp_ms - self._last_ms > LIMITS.near_for_s * 1000:
            self._coverage.start_over()
        self._last, self._last_ms = box, timestamp_ms
        return face

    def _search(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> Face | None:
        recent = timestamp_ms - self._last_ms <= LIMITS.near_for_s * 1000
        box = self._missed.next(rgb, self._last if recent else None)
        return None if box is None else self._in_window_about(box, rgb, timestamp_ms)

    def _in_window_about(self, box: FaceBox, rgb: NDArray[np.uint8], timestamp_ms: int) -> Face | None:
        """The landmarker's face where the detector says there is one, if it agrees; followed from now on."""
        window = _window(box, rgb.shape)
        face = self._tracker.find(rgb, timestamp_ms, window)
        if face is None or not box.holds(_box(face).x, _box(face).y):
            return None
        self._window = window
        return face

    def _confirmed(self, face: Face, rgb: NDArray[np.uint8]) -> bool:
        """Whether the detector, looking closely, agrees with the landmarker about a face found anew."""
        box = _box(face)
        return any(near.holds(box.x, box.y) for near in self._missed.about(rgb, box))

    def _keep_in_window(self, box: FaceBox) -> None:
        """Move the window when the face nears its edge or no longer fits; the next frame sees it."""
        if self._window is None:
            return
        best = _window(box, self._shape)
        reach = box.side * 0.75
        inside = (
            (self._window.left == 0 or box.x - reach > self._window.left)
            and (self._window.top == 0 or box.y - reach > self._window.top)
            and (self._window.right == self._shape[1] or box.x + reach < self._window.right)
            and (self._window.bottom == self._shape[0] or box.y + reach < self._window.bottom)
        )
        if not inside or not 1 / 1.6 < best.side / self._window.side < 1.6:
            self._window = best

    def _elsewhere(self, box: FaceBox, timestamp_ms: int) -> bool:
        """Whether a face found after a gap can't be the one that was lost."""
        gap_s = (timestamp_ms - self._last_ms) / 1000
        if self._last is None or gap_s > LIMITS.near_for_s:
            return False  # anybody can be anywhere by now; the same person is the better guess
        widths = float(np.hypot(box.x - self._last.x, box.y - self._last.y)) / max(box.side, self._last.side)
        growth = max(box.side / self._last.side, self._last.side / box.side)
        return widths > _STEP_WIDTHS + _SPEED_WIDTHS_PER_S * gap_s or growth > _GROWTH + gap_s


def _box(face: Face) -> FaceBox:
    x, y = (face.points[_OUTLINE[0], :2] + face.points[_OUTLINE[1], :2]) / 2
    return FaceBox(float(x), float(y), face_width_px(face) * _BOX_PER_WIDTH, 1.0)


def _window(box: FaceBox, frame_shape: tuple[int, ...]) -> Window:
    side = max(box.side * LIMITS.window_sides, _LEAST_WINDOW_PX)
    return window_about(box.x, box.y, side, frame_shape)
