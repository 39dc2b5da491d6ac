"""AU-like intensities and head rotation from landmarks. Runs inside the face process.

Enters: one :class:`~mien_client.face.landmarks.Face`. Leaves: 20 numbers in the order of
``schema.STATIC_CHANNELS``. Never leaves: landmarks, from which a person can be recognised far better
than from these.

They are *AU-like*, never AUs: no certified coder has rated them. All 17 are geometry, defined in
:mod:`mien_client.face.unit_definitions` on a face that is turned to the front and brought to one size.
MediaPipe's blendshapes are not used: they are worked out from the same landmarks; cheekSquint, noseSneer
and mouthFrown hardly move at all, and eyeWide, browDown, mouthPress and mouthDimple change more with a turn
of the head than with the face.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.face.landmarks import Face
from mien_client.face.unit_definitions import MEASURES, UNIT_DEFINITIONS
from mien_common.schema import AU_CHANNELS, STATIC_CHANNELS

MAX_INTENSITY: Final = 5.0

EXPERIMENTAL: Final[tuple[str, ...]] = ("AU14_r",)
"""Channels that do not pass the directed test; left out of the model. AU14 can't be told from a pulled or
stretched mouth: a dimple is a shadow, and the landmarker draws no shadows."""

# What stays with the skull whatever the face does, in MediaPipe's canonical face model (eye corners,
# bridge of the nose, temples, top of the forehead), and how much each point is believed. The pose matrix
# would not do: it also leans on nose wings, cheeks and jaw, so a dropped jaw would nod the head.
_ANCHORS: Final = (33, 133, 362, 263, 168, 6, 197, 127, 356, 10)
_ANCHORS_AT: Final = np.array(
    [
        (-0.5000, 0.2996, 0.3569),
        (-0.2088, 0.2907, 0.4226),
        (0.2088, 0.2907, 0.4226),
        (0.5000, 0.2996, 0.3569),
        (0.0, 0.3679, 0.5889),
        (0.0, 0.2782, 0.6510),
        (0.0, 0.1944, 0.7104),
        (-0.8708, 0.2660, -0.2255),
        (0.8708, 0.2660, -0.2255),
        (0.0, 0.9292, 0.5040),
    ]
)
_TRUST: Final = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3])


def measure(face: Face) -> NDArray[np.float32]:
    """AU-like intensities and head rotation of one face.

    Returns
    -------
    (20,) float32 in the order of ``STATIC_CHANNELS``: 17 raw intensities, then rotation about x, y, z
    in radians (zero when the face looks into the camera). Raw: signed and not clipped, 0 for an average
    resting face, 5 for the maximum; the person's own neutral is subtracted elsewhere.
    """
    values = np.empty(len(STATIC_CHANNELS), np.float32)
    values[: len(AU_CHANNELS)] = _WEIGHTS @ _turned(face, _USED).ravel() - _REST
    values[len(AU_CHANNELS) :] = rotation_angles(face.rotation)
    return values


def canonical_points(face: Face) -> NDArray[np.float64]:
    """(478, 3) landmarks turned to face the camera; x right, y up; one eye distance is 1."""
    return _turned(face, np.arange(len(face.points)))


def rotation_angles(rotation: NDArray[np.float32]) -> tuple[float, float, float]:
    """Rotation about x (pitch), y (yaw) and z (roll), radians, of R = Rz · Ry · Rx."""
    pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1.0, 1.0))
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(pitch), float(yaw), float(roll)


def _turned(face: Face, indices: NDArray[np.intp]) -> NDArray[np.float64]:
    """Some landmarks where the similarity puts them that brings the anchors nearest to the canonical face.

    Weighted orthogonal Procrustes with scale (Umeyama, 1991).
    """
    camera = face.points.astype(np.float64) * _CAMERA_AXES
    anchors = camera[_ANCHOR_INDEX]
    middle = _SHARE @ anchors
    centred = anchors - middle
    left, stretch, right = np.linalg.svd((centred * _SHARE[:, None]).T @ _ANCHORS_CENTRED)
    mirror = np.array([1.0, 1.0, 1.0 if np.linalg.det(left @ right) > 0 else -1.0])
    size = float(_SHARE @ np.square(centred).sum(axis=1))
    scale = float(stretch @ mirror) / max(size, 1e-12)
    turned: NDArray[np.float64] = scale * (camera[indices] - middle) @ ((left * mirror) @ right)
    turned += _ANCHORS_MIDDLE
    return turned


_CAMERA_AXES: Final = np.array([1.0, -1.0, -1.0])
_ANCHOR_INDEX: Final = np.array(_ANCHORS)
_SHARE: Final = _TRUST / _TRUST.sum()
_ANCHORS_MIDDLE: Final = _SHARE @ _ANCHORS_AT
_ANCHORS_CENTRED: Final = _ANCHORS_AT - _ANCHORS_MIDDLE
_USED: Final = np.array(sorted({index for _, indices in MEASURES.values() for index in indices}))


def _term(measure_name: str) -> NDArray[np.float64]:
    """(used landmarks, 3) weights that make one measure of turned landmarks."""
    axis, indices = MEASURES[measure_name]
    weights = np.zeros((len(_USED), 3))
    for place, index in enumerate(indices):
        side = (-1.0) ** (place + 1) if axis == "x" else 1.0  # image-left first: half of right minus left
        weights[np.searchsorted(_USED, index), "xyz".index(axis)] += side / len(indices)
    return weights


def _compiled() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All units as one matrix on turned landmarks, (17, used · 3), and their values at rest, (17,)."""
    rows, rests = [], []
    for name in AU_CHANNELS:
        unit = UNIT_DEFINITIONS[name]
        per_length = MAX_INTENSITY / (unit.full - unit.rest)
        rows.append(sum(weight * _term(term).ravel() for term, weight in unit.weights.items()) * per_length)
        rests.append(unit.rest * per_length)
    return np.array(rows), np.array(rests)


_WEIGHTS, _REST = _compiled()
