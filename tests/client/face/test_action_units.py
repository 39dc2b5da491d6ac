"""AU-like intensities: head rotation and distance taken out, against SciPy's rotations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien_client.face import action_units, landmarks
from mien_client.face.action_units import EXPERIMENTAL, canonical_points, measure, rotation_angles
from mien_client.face.landmarks import Face, Landmarker
from mien_client.face.unit_definitions import MEASURES, UNIT_DEFINITIONS
from mien_common.errors import ConfinementError
from mien_common.schema import AU_CHANNELS, STATIC_CHANNELS

ANGLES = st.tuples(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))

LEFT_AND_RIGHT = {
    pair[side]: pair[1 - side]
    for _, landmarks in MEASURES.values()
    if len(landmarks) > 1
    for pair in zip(landmarks[::2], landmarks[1::2], strict=True)
    for side in (0, 1)
} | {33: 263, 263: 33, 133: 362, 362: 133, 127: 356, 356: 127}


def still_face(**moved: tuple[float, float]) -> NDArray[np.float64]:
    """(478, 3) points of a made-up face looking into the camera: eye corners 1 apart, x right, y up.

    Keywords move a measure's landmarks outwards and upwards: ``lip_corner=(0.02, 0.05)``.
    """
    generator = np.random.default_rng(0)
    points = np.column_stack([np.zeros(478), generator.normal(0, 0.4, 478), generator.normal(0.3, 0.2, 478)])
    for one, other in LEFT_AND_RIGHT.items():
        aside = generator.uniform(0.1, 0.6)
        points[one, 0], points[other] = -aside, (aside, *points[one, 1:])
    points[list(action_units._ANCHORS)] = action_units._ANCHORS_AT
    for name, (out, up) in moved.items():
        for place, index in enumerate(MEASURES[name][1]):
            alone = len(MEASURES[name][1]) == 1
            points[index] += (0.0 if alone else out * (-1.0) ** (place + 1), up, 0.0)
    return points


def filmed(
    points: NDArray[np.float64], rotation: Rotation, size: float = 200.0, at: tuple[float, float] = (320, 240)
) -> NDArray[np.float32]:
    """Points as the landmarker gives them: turned, in pixels, y down and z away from the camera."""
    turned = rotation.apply(points) * size
    return np.asarray(turned * (1, -1, -1) + (*at, 0), np.float32)


def face(points: NDArray[np.float64], rotation: Rotation, size: float = 200.0) -> Face:
    return Face(filmed(points, rotation, size), {}, rotation.as_matrix().astype(np.float32))


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
    turned = canonical_points(face(still_face(), Rotation.from_euler("xyz", angles), size))
    # Pixels are float32: what is left at a distance of 30 pixels an eye is not more than a thousandth.
    assert turned == pytest.approx(still_face(), abs=1e-3)


@given(st.integers(0, 1000), ANGLES)
def test_the_turn_is_the_one_scipy_finds(seed: int, angles: tuple[float, float, float]) -> None:
    noisy = still_face() + np.random.default_rng(seed).normal(0, 0.02, (478, 3))
    seen = face(noisy, Rotation.from_euler("xyz", angles))
    camera = seen.points.astype(np.float64) * (1, -1, -1)
    anchors, there = camera[list(action_units._ANCHORS)], action_units._ANCHORS_AT
    trust = action_units._TRUST
    centred = anchors - np.average(anchors, axis=0, weights=trust)
    expected, _ = Rotation.align_vectors(
        there - np.average(there, axis=0, weights=trust), centred, weights=trust
    )
    found = canonical_points(seen)
    across = found[263] - found[33]
    assert across / np.linalg.norm(across) == pytest.approx(
        expected.apply(camera[263] - camera[33]) / np.linalg.norm(camera[263] - camera[33]), abs=1e-6
    )


@given(ANGLES, st.floats(60, 600))
def test_intensities_do_not_follow_the_head(angles: tuple[float, float, float], size: float) -> None:
    points = still_face(lip_corner=(0.03, 0.05), lower_lid=(0.0, 0.02))
    straight = named(measure(face(points, Rotation.identity(), 600)))
    turned = named(measure(face(points, Rotation.from_euler("xyz", angles), size)))
    for name in AU_CHANNELS:
        assert turned[name] == pytest.approx(straight[name], abs=0.05), name
    assert [turned[name] for name in ("pose_Rx", "pose_Ry", "pose_Rz")] == pytest.approx(angles, abs=1e-5)


@given(st.integers(0, 1000), ANGLES)
def test_a_mirrored_face_measures_the_same(seed: int, angles: tuple[float, float, float]) -> None:
    points = still_face() + np.random.default_rng(seed).normal(0, 0.02, (478, 3))
    mirrored = points * (-1, 1, 1)
    one, other = np.array(list(LEFT_AND_RIGHT.items())).T
    mirrored[one] = points[other] * (-1, 1, 1)
    rotation = Rotation.from_euler("xyz", angles)
    pitch, yaw, roll = angles
    other_way = Rotation.from_euler("xyz", (pitch, -yaw, -roll))
    seen, reflected = measure(face(points, rotation, 600)), measure(face(mirrored, other_way, 600))
    assert reflected[:17] == pytest.approx(seen[:17], abs=0.05)
    assert reflected[17:] == pytest.approx([pitch, -yaw, -roll], abs=1e-5)


def test_intensities_are_signed_and_not_clipped() -> None:
    rest = measure(face(still_face(), Rotation.identity()))
    up, down = (measure(face(still_face(lip_corner=(0, by)), Rotation.identity())) for by in (0.5, -0.5))
    smile = AU_CHANNELS.index("AU12_r")
    assert rest.shape == (20,)
    assert rest.dtype == np.float32
    assert up[smile] > rest[smile] + 5
    assert down[smile] < rest[smile] - 5
    assert up[smile] + down[smile] == pytest.approx(2 * rest[smile], abs=0.02)


def test_rest_is_zero_and_the_maximum_five_by_the_definition() -> None:
    here = face(still_face(), Rotation.identity(), 600)
    points = canonical_points(here)

    def height(*landmarks: int) -> float:
        return float(np.mean([points[index, 1] for index in landmarks]))

    definition = UNIT_DEFINITIONS["AU15_r"]
    total = 0.0
    for name, weight in definition.weights.items():
        axis, landmarks = MEASURES[name]
        half_width = (points[landmarks[-1], 0] - points[landmarks[0], 0]) / 2
        total += weight * (height(*landmarks) if axis == "y" else half_width)
    expected = 5 * (total - definition.rest) / (definition.full - definition.rest)
    assert named(measure(here))["AU15_r"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("channel", "moved"),
    [
        ("AU01_r", {"inner_brow": (0.0, 0.05)}),
        ("AU02_r", {"mid_brow": (0.0, 0.05)}),
        ("AU04_r", {"inner_brow": (0.0, -0.03), "mid_brow": (0.0, -0.03), "brow_gap": (-0.02, 0.0)}),
        ("AU05_r", {"upper_lid": (0.0, 0.02)}),
        ("AU06_r", {"cheek": (0.0, 0.03), "lower_lid": (0.0, 0.02)}),
        ("AU07_r", {"lower_lid": (0.0, 0.02), "upper_lid": (0.0, -0.01)}),
        ("AU09_r", {"nose_wing": (0.0, 0.03), "nostril": (0.0, 0.03), "inner_brow": (0.0, -0.02)}),
        ("AU10_r", {"upper_lip": (0.0, 0.04), "inner_upper_lip": (0.0, 0.04), "upper_lip_bow": (0.0, 0.04)}),
        ("AU12_r", {"lip_corner": (0.05, 0.06)}),
        ("AU14_r", {"lower_corner_width": (0.03, 0.0)}),
        ("AU15_r", {"lip_corner": (0.0, -0.06)}),
        ("AU17_r", {"chin_boss": (0.0, 0.05), "lower_lip": (0.0, 0.03), "inner_lower_lip": (0.0, 0.03)}),
        ("AU20_r", {"mouth_width": (0.06, 0.0)}),
        ("AU23_r", {"mouth_width": (-0.02, 0.0), "upper_lip_bow": (0.0, -0.02), "lower_lip": (0.0, 0.02)}),
        ("AU25_r", {"inner_lower_lip": (0.0, -0.05)}),
        ("AU26_r", {"inner_lower_lip": (0.0, -0.15), "lower_lip": (0.0, -0.15), "chin_boss": (0.0, -0.15)}),
        ("AU45_r", {"upper_lid": (0.0, -0.08), "lower_lid": (0.0, 0.01)}),
    ],
)
def test_what_the_action_does_to_the_face_raises_its_channel(
    channel: str, moved: dict[str, tuple[float, float]]
) -> None:
    rest = named(measure(face(still_face(), Rotation.identity(), 600)))
    shown = named(measure(face(still_face(**moved), Rotation.identity(), 600)))
    undone = named(
        measure(
            face(
                still_face(**{name: (-out, -up) for name, (out, up) in moved.items()}),
                Rotation.identity(),
                600,
            )
        )
    )
    assert shown[channel] > rest[channel] + 1.0
    assert undone[channel] < rest[channel] - 1.0


def test_a_face_without_any_size_is_no_error() -> None:
    flat = Face(np.zeros((478, 3), np.float32), {}, np.eye(3, dtype=np.float32))
    assert np.isfinite(measure(flat)).all()


def test_every_definition_is_complete() -> None:
    assert tuple(UNIT_DEFINITIONS) == AU_CHANNELS
    assert set(EXPERIMENTAL) < set(AU_CHANNELS)
    for definition in UNIT_DEFINITIONS.values():
        assert definition.full > definition.rest
        assert definition.why.endswith(".")


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
