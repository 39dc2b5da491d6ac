"""AU-like intensities: head rotation and distance taken out, against SciPy's rotations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien_client import landmarks
from mien_client.action_units import canonical_points, measure, rotation_angles
from mien_client.landmarks import Face, Landmarker
from mien_common.errors import ConfinementError
from mien_common.schema import AU_CHANNELS, STATIC_CHANNELS

ANGLES = st.tuples(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))

SHAPES = (
    *("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "browDownLeft", "browDownRight"),
    *("eyeWideLeft", "eyeWideRight", "eyeSquintLeft", "eyeSquintRight", "eyeBlinkLeft", "eyeBlinkRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthShrugLower"),
    *("mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper"),
    *("mouthPressLeft", "mouthPressRight", "jawOpen"),
)
AT_REST = dict.fromkeys(SHAPES, 0.0)

# Where the measured landmarks lie on a face that looks into the camera: x right, y up, eyes 1 apart.
_EYES = {33: (-0.5, 0.0, -0.1), 263: (0.5, 0.0, -0.1), 133: (-0.2, 0.0, 0.0), 362: (0.2, 0.0, 0.0)}
_LIDS = {145: (-0.35, -0.05, 0.0), 374: (0.35, -0.05, 0.0)}
_MOUTH = {61: (-0.3, -0.8, 0.05), 291: (0.3, -0.8, 0.05), 13: (0.0, -0.8, 0.15), 14: (0.0, -0.8, 0.15)}


def still_face(cheek: float = -0.37, wing: float = -0.45, corner: float = -0.8) -> NDArray[np.float64]:
    """(478, 3) canonical points; keywords move cheeks, nose wings and lip corners up and down."""
    points = np.random.default_rng(0).normal(0, 0.4, (478, 3))
    for index, place in (_EYES | _LIDS | _MOUTH).items():
        points[index] = place
    points[[50, 280]] = (-0.5, cheek, 0.0), (0.5, cheek, 0.0)
    points[[129, 358]] = (-0.2, wing, 0.1), (0.2, wing, 0.1)
    points[[61, 291], 1] = corner
    return points


def filmed(
    points: NDArray[np.float64], rotation: Rotation, size: float = 200.0, at: tuple[float, float] = (320, 240)
) -> NDArray[np.float32]:
    """Points as the landmarker gives them: turned, in pixels, y down and z away from the camera."""
    turned = rotation.apply(points) * size
    return np.asarray(turned * (1, -1, -1) + (*at, 0), np.float32)


def face(
    points: NDArray[np.float64], rotation: Rotation, shapes: dict[str, float] | None = None, size: float = 200
) -> Face:
    return Face(
        points=filmed(points, rotation, size),
        blendshapes=AT_REST | (shapes or {}),
        rotation=rotation.as_matrix().astype(np.float32),
    )


def named(values: NDArray[np.float32]) -> dict[str, float]:
    return dict(zip(STATIC_CHANNELS, values.tolist(), strict=True))


@given(ANGLES)
def test_angles_are_scipys(angles: tuple[float, float, float]) -> None:
    matrix = Rotation.from_euler("xyz", angles).as_matrix().astype(np.float32)
    assert rotation_angles(matrix) == pytest.approx(angles, abs=1e-5)


def test_no_rotation_is_zero_and_each_axis_is_its_own() -> None:
    assert rotation_angles(np.eye(3, dtype=np.float32)) == (0.0, 0.0, 0.0)
    for axis in range(3):
        angles = np.zeros(3)
        angles[axis] = 0.3
        matrix = Rotation.from_rotvec(angles).as_matrix().astype(np.float32)
        assert rotation_angles(matrix) == pytest.approx(tuple(angles), abs=1e-6)


@given(ANGLES, st.floats(30, 600))
def test_head_rotation_distance_and_place_are_taken_out(
    angles: tuple[float, float, float], size: float
) -> None:
    rotation = Rotation.from_euler("xyz", angles)
    reference = canonical_points(face(still_face(), Rotation.identity()))
    turned = canonical_points(face(still_face(), rotation, size=size))
    assert turned == pytest.approx(reference, abs=2e-3)
    assert np.linalg.norm(turned[33] - turned[263]) == pytest.approx(1.0, abs=1e-9)
    # Pixels are float32: what is left at a distance of 30 pixels an eye is not more than a thousandth.
    assert reference - reference.mean(axis=0) == pytest.approx(
        still_face() - still_face().mean(axis=0), abs=1e-3
    )


@given(ANGLES)
def test_intensities_do_not_follow_the_head(angles: tuple[float, float, float]) -> None:
    shapes = {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.6}
    points = still_face(cheek=-0.35, wing=-0.4, corner=-0.83)
    straight = named(measure(face(points, Rotation.identity(), shapes)))
    turned = named(measure(face(points, Rotation.from_euler("xyz", angles), shapes)))
    for name in AU_CHANNELS:
        assert turned[name] == pytest.approx(straight[name], abs=0.03), name
    assert [turned[name] for name in ("pose_Rx", "pose_Ry", "pose_Rz")] == pytest.approx(angles, abs=1e-5)


@pytest.mark.parametrize(
    ("channel", "shapes"),
    [
        ("AU01_r", ["browInnerUp"]),
        ("AU02_r", ["browOuterUpLeft", "browOuterUpRight"]),
        ("AU04_r", ["browDownLeft", "browDownRight"]),
        ("AU05_r", ["eyeWideLeft", "eyeWideRight"]),
        ("AU07_r", ["eyeSquintLeft", "eyeSquintRight"]),
        ("AU12_r", ["mouthSmileLeft", "mouthSmileRight"]),
        ("AU14_r", ["mouthDimpleLeft", "mouthDimpleRight"]),
        ("AU17_r", ["mouthShrugLower"]),
        ("AU20_r", ["mouthStretchLeft", "mouthStretchRight"]),
        ("AU23_r", ["mouthPressLeft", "mouthPressRight"]),
        ("AU45_r", ["eyeBlinkLeft", "eyeBlinkRight"]),
    ],
)
def test_a_blendshape_moves_its_own_channel_only(channel: str, shapes: list[str]) -> None:
    rest = measure(face(still_face(), Rotation.identity()))
    moved = measure(face(still_face(), Rotation.identity(), dict.fromkeys(shapes, 0.8)))
    changed = {name for name, was, now in zip(STATIC_CHANNELS, rest, moved, strict=True) if was != now}
    assert changed == {channel}
    assert named(moved)[channel] == pytest.approx(4.0, abs=1e-5)


def test_an_open_jaw_parts_the_lips_too() -> None:
    values = named(measure(face(still_face(), Rotation.identity(), {"jawOpen": 0.5})))
    assert (values["AU26_r"], values["AU25_r"]) == pytest.approx((2.5, 2.5))


@pytest.mark.parametrize(
    ("channel", "moved"),
    [("AU06_r", {"cheek": -0.30}), ("AU09_r", {"wing": -0.36}), ("AU15_r", {"corner": -0.85})],
)
def test_geometry_moves_its_own_channel_only(channel: str, moved: dict[str, float]) -> None:
    rest = named(measure(face(still_face(), Rotation.identity())))
    shown = named(measure(face(still_face(**moved), Rotation.identity())))
    assert shown[channel] > rest[channel] + 1.0
    assert {name for name in AU_CHANNELS if shown[name] != pytest.approx(rest[name], abs=1e-3)} == {channel}


@given(ANGLES, st.floats(0.5, 20), st.integers(0, 1000))
def test_the_nearest_rotation_to_a_scaled_noisy_one_is_a_rotation(
    angles: tuple[float, float, float], scale: float, seed: int
) -> None:
    rotation = Rotation.from_euler("xyz", angles)
    noise = np.random.default_rng(seed).normal(0, 0.01, (3, 3))
    found = landmarks._nearest_rotation(((rotation.as_matrix() + noise) * scale).astype(np.float32))
    assert np.linalg.det(found) == pytest.approx(1.0, abs=1e-4)
    assert found @ found.T == pytest.approx(np.eye(3), abs=1e-4)
    assert (Rotation.from_matrix(found) * rotation.inv()).magnitude() < 0.1


def test_a_model_asset_that_is_not_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "ASSET_SHA256", "0" * 64)
    with pytest.raises(ConfinementError, match=r"model asset is damaged.*Install mien again"):
        Landmarker()
