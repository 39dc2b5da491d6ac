"""AU-like intensities and head rotation from landmarks and blendshapes. Runs inside the face process.

Enters: one :class:`~mien_client.landmarks.Face`. Leaves: 20 numbers in the order of
``schema.STATIC_CHANNELS``. Never leaves: landmarks and blendshapes, from which a person can be
recognised far better than from these.

They are *AU-like*, never AUs: no certified coder has rated them. MediaPipe's blendshapes carry
AU 1, 2, 4, 5, 7, 10, 12, 20, 23, 25, 26 and 45. Geometry carries AU 6, 9 and 15, because the
cheekSquint and noseSneer blendshapes are dead and mouthFrown nearly so. AU 14 and 17 follow their
blendshapes (mouthDimple, mouthShrugLower) and are experimental. Definitions of the units:
Ekman & Friesen, *Facial Action Coding System* (1978).
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.landmarks import Face
from mien_common.schema import AU_CHANNELS, STATIC_CHANNELS

MAX_INTENSITY: Final = 5.0

EXPERIMENTAL: Final[tuple[str, ...]] = ("AU14_r", "AU17_r")
"""Channels that do not pass the directed test; left out of the model by default."""

_OUTER_EYE_CORNERS: Final = (33, 263)
_INNER_EYE_CORNERS: Final = (133, 362)
_LIP_CORNERS: Final = (61, 291)
_LIP_CENTRES: Final = (13, 14)
_LOWER_LIDS: Final = (145, 374)
_CHEEKS: Final = (50, 280)
_NOSE_WINGS: Final = (129, 358)

# Ends of each geometric measure, in eye distances: (at rest, fully shown). They enclose the 5th to
# 95th percentiles of 18 clips of seven people (cheek .27-.36, nose .38-.45, corner -.09-.04).
_CHEEK_RAISE_RANGE: Final = (0.36, 0.24)
"""Lower lid to cheek: it shortens as the cheek rises."""
_NOSE_WRINKLE_RANGE: Final = (0.46, 0.34)
"""Inner eye corner to nose wing: it shortens as the nose wrinkles."""
_CORNER_DROP_RANGE: Final = (-0.01, 0.07)
"""Lip corners below the middle of the inner lips."""

_Blendshapes = Mapping[str, float]


def measure(face: Face) -> NDArray[np.float32]:
    """AU-like intensities and head rotation of one face.

    Returns
    -------
    (20,) float32 in the order of ``STATIC_CHANNELS``: 17 raw intensities, then rotation about x, y, z
    in radians (zero when the face looks into the camera). Raw: signed and not clipped, 0 for an average
    resting face, 5 for the maximum; the person's own neutral is subtracted elsewhere.
    """
    points = canonical_points(face)
    intensities = [_intensity_from_shape(rule(face.blendshapes)) for rule in _FROM_BLENDSHAPES.values()]
    by_name = dict(zip(_FROM_BLENDSHAPES, intensities, strict=True))
    by_name |= {name: rule(points) for name, rule in _FROM_GEOMETRY.items()}
    values = [by_name[name] for name in AU_CHANNELS] + list(rotation_angles(face.rotation))
    return np.array(values, np.float32)


def canonical_points(face: Face) -> NDArray[np.float64]:
    """(478, 3) landmarks turned to face the camera; x right, y up; one eye distance is 1."""
    camera = face.points.astype(np.float64) * (1.0, -1.0, -1.0)
    turned = (camera - camera.mean(axis=0)) @ face.rotation.astype(np.float64)
    outer = turned[list(_OUTER_EYE_CORNERS)]
    scaled: NDArray[np.float64] = turned / max(float(np.linalg.norm(outer[0] - outer[1])), 1e-6)
    return scaled


def rotation_angles(rotation: NDArray[np.float32]) -> tuple[float, float, float]:
    """Rotation about x (pitch), y (yaw) and z (roll), radians, of R = Rz · Ry · Rx."""
    pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1.0, 1.0))
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(pitch), float(yaw), float(roll)


def _sides(shapes: _Blendshapes, name: str) -> float:
    return (shapes[f"{name}Left"] + shapes[f"{name}Right"]) / 2


def _lips_tight(shapes: _Blendshapes) -> float:
    return max((shapes["mouthRollLower"] + shapes["mouthRollUpper"]) / 2, _sides(shapes, "mouthPress"))


def _lips_apart(shapes: _Blendshapes) -> float:
    return max(shapes["jawOpen"], (_sides(shapes, "mouthLowerDown") + _sides(shapes, "mouthUpperUp")) / 2)


_FROM_BLENDSHAPES: Final[Mapping[str, Callable[[_Blendshapes], float]]] = {
    "AU01_r": lambda shapes: shapes["browInnerUp"],
    "AU02_r": lambda shapes: _sides(shapes, "browOuterUp"),
    "AU04_r": lambda shapes: _sides(shapes, "browDown"),
    "AU05_r": lambda shapes: _sides(shapes, "eyeWide"),
    "AU07_r": lambda shapes: _sides(shapes, "eyeSquint"),
    "AU10_r": lambda shapes: _sides(shapes, "mouthUpperUp"),
    "AU12_r": lambda shapes: _sides(shapes, "mouthSmile"),
    "AU14_r": lambda shapes: _sides(shapes, "mouthDimple"),
    "AU17_r": lambda shapes: shapes["mouthShrugLower"],
    "AU20_r": lambda shapes: _sides(shapes, "mouthStretch"),
    "AU23_r": _lips_tight,
    "AU25_r": _lips_apart,
    "AU26_r": lambda shapes: shapes["jawOpen"],
    "AU45_r": lambda shapes: _sides(shapes, "eyeBlink"),
}


def _cheek_raise(points: NDArray[np.float64]) -> float:
    return _between(_height(points, _LOWER_LIDS) - _height(points, _CHEEKS), _CHEEK_RAISE_RANGE)


def _nose_wrinkle(points: NDArray[np.float64]) -> float:
    corners, wings = points[list(_INNER_EYE_CORNERS)], points[list(_NOSE_WINGS)]
    return _between(float(np.linalg.norm(corners - wings, axis=1).mean()), _NOSE_WRINKLE_RANGE)


def _corner_drop(points: NDArray[np.float64]) -> float:
    return _between(_height(points, _LIP_CENTRES) - _height(points, _LIP_CORNERS), _CORNER_DROP_RANGE)


_FROM_GEOMETRY: Final[Mapping[str, Callable[[NDArray[np.float64]], float]]] = {
    "AU06_r": _cheek_raise,
    "AU09_r": _nose_wrinkle,
    "AU15_r": _corner_drop,
}

if set(_FROM_BLENDSHAPES) | set(_FROM_GEOMETRY) != set(AU_CHANNELS):  # a mistake here would shift columns
    raise AssertionError(f"the rules do not cover {STATIC_CHANNELS}")


def _height(points: NDArray[np.float64], indices: tuple[int, ...]) -> float:
    return float(points[list(indices), 1].mean())


def _intensity_from_shape(score: float) -> float:
    return score * MAX_INTENSITY


def _between(value: float, rest_to_full: tuple[float, float]) -> float:
    rest, full = rest_to_full
    return (value - rest) / (full - rest) * MAX_INTENSITY
