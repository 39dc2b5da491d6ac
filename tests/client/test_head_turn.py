"""Head rotations in OpenFace's axes and in ours: against SciPy, and against what a head does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien_client.face.action_units import rotation_angles
from mien_client.head_turn import from_camera_axes, to_camera_axes

ANGLES = st.floats(-1.4, 1.4)


def column(*angles: float) -> NDArray[np.float64]:
    return np.array(angles, np.float64)


@given(ANGLES, ANGLES, ANGLES)
def test_a_turn_is_the_same_turn_in_both_axes(x: float, y: float, z: float) -> None:
    """SciPy's "XYZ" (capitals: about the turned axes) is Rx · Ry · Rz, "ZYX" is Rz · Ry · Rx."""
    (ours,) = from_camera_axes(column(x), column(y), column(z))
    flip = np.diag([1.0, -1.0, -1.0])
    theirs = Rotation.from_euler("XYZ", [x, y, z]).as_matrix()
    expected = flip @ theirs @ flip
    assert Rotation.from_euler("ZYX", ours[::-1]).as_matrix() == pytest.approx(expected, abs=1e-6)
    assert ours == pytest.approx(rotation_angles(expected.astype(np.float32)), abs=1e-5)
    (back,) = to_camera_axes(ours[None])
    assert back == pytest.approx([x, y, z], abs=1e-5)


@pytest.mark.parametrize(
    ("openface", "ours"),
    [
        # OpenFace: head down is positive about x, the head's own right positive about y (its nose goes
        # to the image's left), the image's clockwise tilt positive about z.
        ((0.3, 0.0, 0.0), (0.3, 0.0, 0.0)),
        ((0.0, 0.3, 0.0), (0.0, -0.3, 0.0)),
        ((0.0, 0.0, 0.3), (0.0, 0.0, -0.3)),
    ],
    ids=["down", "to the own right", "tilted clockwise"],
)
def test_which_way_is_positive(openface: tuple[float, ...], ours: tuple[float, ...]) -> None:
    (found,) = from_camera_axes(*(column(angle) for angle in openface))
    assert found == pytest.approx(ours, abs=1e-6)
    # Where the nose points: away from the face is −z for OpenFace's camera, +z for us; y is down, and up.
    x, y, _ = Rotation.from_euler("XYZ", openface).apply([0.0, 0.0, -1.0])
    our_x, our_y, _ = Rotation.from_euler("ZYX", found[::-1]).apply([0.0, 0.0, 1.0])
    assert (our_x, our_y) == pytest.approx((x, -y), abs=1e-6)


def test_what_is_missing_stays_missing() -> None:
    found = from_camera_axes(column(np.nan, 0.1, np.inf), column(0.0, 0.1, 0.0), column(0.0, 0.1, 0.0))
    assert np.isnan(found[[0, 2]]).all()
    assert np.isfinite(found[1]).all()
    assert np.isnan(to_camera_axes(np.full((2, 3), np.nan))).all()
