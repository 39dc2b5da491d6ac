"""Square parts of a frame in which a face is looked for and followed. Runs inside the face process only.

Enters: frames, and a face measured inside a window. Leaves: the window's pixels, and that face in the
pixels and the pose of the whole frame. Never leaves the process: either.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.face.landmarks import Face

_HALF_VIEW_RAD: Final = np.radians(31.5)
"""MediaPipe takes every picture to span 63° from top to bottom, and its middle for the optical axis."""
_POSE_PER_ANGLE: Final = 0.32
"""MediaPipe turns a face by this share of the angle at which it stands beside the picture's middle.

Measured with one portrait laid into a frame at six places: 0.27 in yaw, 0.36 in pitch; a pinhole camera
seen by an orthogonal fit shears depth, which gives about a third. Without it a face that steps from the
frame into a window would seem to nod by up to 6°; with it, by less than 2°.
"""


@dataclass(frozen=True)
class Window:
    """A square, or the part of one that lies inside the frame."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def side(self) -> int:
        """Its longer side in pixels."""
        return max(self.right - self.left, self.bottom - self.top)

    def pixels(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The window's part of a frame, copied."""
        return np.ascontiguousarray(rgb[self.top : self.bottom, self.left : self.right])

    def in_frame(self, face: Face, frame_shape: tuple[int, ...]) -> Face:
        """A face measured in :meth:`pixels`, as it would have been measured in the whole frame.

        Points move by the window's corner; their depth, in the same pixels, stays. The pose is turned
        because the landmarker takes the window for a whole picture, with a narrower view and an axis of
        its own. Blendshapes don't depend on where in the picture a face is.
        """
        points = face.points + np.array([self.left, self.top, 0], np.float32)
        middle = face.points.mean(axis=0)
        here = _angles(middle, self.right - self.left, self.bottom - self.top)
        there = _angles(points.mean(axis=0), frame_shape[1], frame_shape[0])
        yaw, pitch = (here - there) * _POSE_PER_ANGLE
        return replace(face, points=points, rotation=_turn(float(yaw), float(pitch)) @ face.rotation)


def window_about(x: float, y: float, side: float, frame_shape: tuple[int, ...]) -> Window:
    """The square of this side about a point; moved, and if need be cut, so that it lies in the frame."""
    height, width = frame_shape[:2]
    left, right = _span(x, side, width)
    top, bottom = _span(y, side, height)
    return Window(left, top, right, bottom)


def search_windows(
    height: int, width: int, shares: tuple[float, ...], least_side_px: int
) -> list[list[Window]]:
    """Windows that cover a frame at several scales, each overlapping the next by half.

    Parameters
    ----------
    shares : sides, as shares of the frame's shorter side.
    least_side_px : scales with smaller windows are left out.
    """
    sides = [round(share * min(height, width)) for share in shares]
    return [_covering(height, width, side) for side in sides if side >= least_side_px]


def _covering(height: int, width: int, side: int) -> list[Window]:
    return [
        Window(left, top, left + side, top + side)
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]


def _starts(length: int, side: int) -> list[int]:
    steps = int(np.ceil((length - side) / (side / 2)))
    return [round(start) for start in np.linspace(0, length - side, steps + 1)]


def _span(middle: float, side: float, length: int) -> tuple[int, int]:
    whole = min(round(side), length)
    start = int(np.clip(round(middle - whole / 2), 0, length - whole))
    return start, start + whole


def _angles(point: NDArray[np.float32], width: int, height: int) -> NDArray[np.float64]:
    """Angles to the right of and below a picture's middle, radians, by MediaPipe's camera."""
    focal = height / 2 / np.tan(_HALF_VIEW_RAD)
    return np.arctan([(point[0] - width / 2) / focal, (point[1] - height / 2) / focal])


def _turn(yaw: float, pitch: float) -> NDArray[np.float32]:
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    return (np.array(about_y) @ np.array(about_x)).astype(np.float32)
