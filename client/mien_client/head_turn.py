"""Head rotations between two sets of axes: the camera's, as OpenFace has them, and ours.

OpenFace's axes are a camera's: x to the image's right, y down, z away from the camera; a turn is
R = Rx(a) · Ry(b) · Rz(c) (``Euler2RotationMatrix`` in its ``RotationHelpers.h``, whose entry
R[0, 2] = sin b is that of an ordinary right-handed turn). Ours are x right, y up, z towards the camera,
and R = Rz · Ry · Rx (:func:`~mien_client.face.action_units.rotation_angles`). With S = diag(1, −1, −1)
between the axes, our rotation is S · R · S: a turn about x keeps its sign (nodding down is positive in
both), turns about y and z change theirs. The order of the three turns differs too, so the angles are
worked out anew.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_FLIP: Final = np.diag([1.0, -1.0, -1.0])


def from_camera_axes(
    about_x: NDArray[np.float64], about_y: NDArray[np.float64], about_z: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(rows, 3) our rotations about x, y, z, of camera-axes turns Rx · Ry · Rz; radians, NaN stays NaN."""
    turn = _FLIP @ (_about(0, about_x) @ _about(1, about_y) @ _about(2, about_z)) @ _FLIP
    # R = Rz(c) · Ry(b) · Rx(a)
    return np.stack(
        [
            np.arctan2(turn[:, 2, 1], turn[:, 2, 2]),
            np.arcsin(np.clip(-turn[:, 2, 0], -1.0, 1.0)),
            np.arctan2(turn[:, 1, 0], turn[:, 0, 0]),
        ],
        axis=1,
    ).astype(np.float32)


def to_camera_axes(rotation: NDArray[np.floating]) -> NDArray[np.float64]:
    """(rows, 3) turns in the camera's axes, of our rotations: the inverse of :func:`from_camera_axes`."""
    x, y, z = (rotation[:, column].astype(np.float64) for column in range(3))
    turn = _FLIP @ (_about(2, z) @ _about(1, y) @ _about(0, x)) @ _FLIP
    # R = Rx(a) · Ry(b) · Rz(c)
    return np.stack(
        [
            np.arctan2(-turn[:, 1, 2], turn[:, 2, 2]),
            np.arcsin(np.clip(turn[:, 0, 2], -1.0, 1.0)),
            np.arctan2(-turn[:, 0, 1], turn[:, 0, 0]),
        ],
        axis=1,
    )


def _about(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, 3, 3) right-handed turns about one axis."""
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    angle = np.where(np.isfinite(angle), angle, np.nan)
    turn = np.zeros((len(angle), 3, 3))
    turn[:, axis, axis] = 1.0
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, second, first] = np.sin(angle)
    turn[:, first, second] = -np.sin(angle)
    return turn
