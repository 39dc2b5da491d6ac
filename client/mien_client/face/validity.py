"""When a face that was found is still too poorly seen to be measured. Runs inside the face process only.

Enters: one :class:`~mien_client.face.landmarks.Face` and its frame. Leaves: a
:class:`~mien_client.observations.FaceState`. Never leaves: the frame, the landmarks.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.face.action_units import rotation_angles
from mien_client.face.landmarks import Face
from mien_client.observations import FaceState

_FACE_EDGES: Final = (234, 454)
_SOME: Final = slice(0, 468, 6)
"""78 landmarks, all over the face: enough for a mean."""
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class SeeingLimits:
    """Where action units end; each figure is measured, see ``docs/missing.md``."""

    largest_yaw_rad: float = float(np.radians(45.0))
    """The issue's own: beyond it the far eye and lip corner are out of sight."""
    least_width_px: float = 36.0
    """A puppet's action units are off by 0.27 intensities at 66 pixels, the smallest face of the real clips
    that the stock detector finds, and by twice that at 36; at 28 their CCC falls from 0.85 to 0.67."""
    least_luminance: float = 20.0
    """Of 255, mean over the face. With a small sensor's noise at full gain, error and jitter of a 66-pixel
    face have doubled between 24 and 16. Dark skin in ordinary light is far above it."""


LIMITS: Final = SeeingLimits()


def face_width_px(face: Face) -> float:
    """Ear to ear, along the face and not across the picture: it stays when the head turns."""
    one, other = (face.points[edge].tolist() for edge in _FACE_EDGES)
    return math.dist(one, other)


def luminance(rgb: NDArray[np.uint8], face: Face) -> float:
    """Mean brightness of the face in [0, 255], sampled where some landmarks lie."""
    height, width = rgb.shape[:2]
    columns = np.clip(face.points[_SOME, 0], 0, width - 1).astype(np.intp)
    rows = np.clip(face.points[_SOME, 1], 0, height - 1).astype(np.intp)
    return float(rgb[rows, columns].mean(axis=0, dtype=np.float32) @ _LUMA)


def judge(rgb: NDArray[np.uint8], face: Face, limits: SeeingLimits = LIMITS) -> FaceState:
    """SEEN, or the first reason why the face as a whole can't be measured: PROFILE, SMALL or DARK."""
    _, yaw, _ = rotation_angles(face.rotation)
    if abs(yaw) > limits.largest_yaw_rad:
        return FaceState.PROFILE
    if face_width_px(face) < limits.least_width_px:
        return FaceState.SMALL
    if luminance(rgb, face) < limits.least_luminance:
        return FaceState.DARK
    return FaceState.SEEN
