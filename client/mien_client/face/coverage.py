"""Which parts of a face something lies before: a hand, a cup, the frame's edge. Inside the face process only.

Enters: one :class:`~mien_client.face.landmarks.Face` after another, with their frames. Leaves: names of
parts. Never leaves: brightness at the landmarks, of which it keeps one running mean per recording.

The landmarker puts a mouth where a hand is, as surely as where a mouth is. So the skin itself is asked.
Brightness is sampled at some 240 landmarks: they move with the face, so an open mouth, a closed eye or a
raised brow changes little there, and a hand changes all. Each part of the face is compared with its own
running mean in two ways that fail differently: by how much it differs (after light from another side has
been allowed for), and by whether its pattern of light and dark is still the same. Both must speak.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_client.face.action_units import rotation_angles
from mien_client.face.landmarks import Face
from mien_client.face.mesh_fit import MeshFit
from mien_client.face.validity import face_width_px
from mien_common.schema import AU_CHANNELS

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CoverageLimits:
    """When a part counts as covered; measured on real clips and pasted hands, see ``docs/missing.md``."""

    differs: float = 0.06
    """Mean change of log brightness over a part. Uncovered parts: 0.015 in the middle, at most 0.07 at
    the 99th percentile with a still head; under a hand 0.08 to 0.2."""
    differs_no_more: float = 0.045
    pattern: float = 0.3
    """One minus the correlation of a part's brightness with its running mean. Uncovered: 0.02 in the
    middle, 0.08–0.3 at the 99th percentile; under a hand 0.7 to 1.1 in the middle."""
    pattern_no_more: float = 0.22
    still_deg: float = 3.0
    per_degree: float = 0.05
    most: float = 2.0
    """A head that is turning changes its looks: both limits grow by ``per_degree`` for each degree beyond
    ``still_deg`` from the mean pose of the last second, up to ``most`` times. Without it false alarms
    rise from 0.2 % to 7 % of frames."""
    aside_deg: float = 25.0
    """A side of the face that is turned away further hides itself; it is neither judged nor learned."""
    look_every_s: float = 0.1
    """A look costs 0.4 ms, the landmarker 6 ms a frame: so every third frame at 30 frames/s, and every
    frame while anything speaks for a hand."""
    beside: float = 0.75
    """Both limits shrink by this beside a part that is covered: a hand is in one piece."""
    looks: int = 2
    """In a row that must agree before a part is covered; single ones are noise (0.2 % against 3 %)."""
    looks_free: int = 3
    looks_first: int = 3
    """Before that, a part's usual brightness is not known well enough."""
    looks_close: int = 30
    """So many looks at a new face are at every frame: it is being learned."""
    memory_s: float = 1.0
    """Time constant of the running mean; a covered part's stands still meanwhile."""
    forget_s: float = 30.0
    """A part that is covered for so long is taken to look like that from now on, for the cause may be a
    lamp. A hand that rests longer is not told from a face any more."""


LIMITS: Final = CoverageLimits()

# MediaPipe's mesh indices, spread evenly over each part; "left" is the image's left.
_PARTS: Final[dict[str, tuple[int, ...]]] = {
    "brow_left": (
        *(27, 28, 29, 46, 52, 53, 54, 55, 63, 65, 66, 67, 68, 69, 70, 103, 104, 105, 107, 108, 109),
        *(222, 223, 224),
    ),
    "brow_right": (
        *(257, 258, 259, 276, 282, 283, 284, 285, 293, 295, 296, 297, 298, 299, 300, 332, 333, 334),
        *(336, 337, 338, 442, 443, 444),
    ),
    "eye_left": (
        *(24, 25, 31, 35, 56, 111, 114, 121, 124, 130, 145, 153, 155, 157, 158, 159, 160, 163, 189),
        *(190, 221, 225, 226, 228, 229, 230, 231, 232, 233, 244, 246, 247),
    ),
    "eye_right": (
        *(254, 255, 261, 265, 286, 340, 343, 350, 353, 359, 374, 380, 382, 384, 385, 386, 387, 390, 413),
        *(414, 441, 445, 446, 448, 449, 450, 451, 452, 453, 464, 466, 467),
    ),
    "nose": (
        *(1, 2, 4, 5, 45, 97, 98, 102, 126, 134, 142, 220, 236, 239, 275, 281, 326, 327, 331),
        *(344, 354, 355, 363, 371, 392, 440, 456, 459),
    ),
    "cheek_left": (36, 50, 92, 100, 101, 117, 118, 119, 120, 187, 203, 205, 206, 207, 213, 216),
    "cheek_right": (266, 280, 322, 329, 330, 346, 347, 348, 349, 411, 423, 425, 426, 427, 433, 436),
    "mouth": (
        *(0, 14, 17, 18, 39, 57, 72, 83, 106, 164, 165, 167, 178, 181, 182, 183, 204, 206, 269, 273),
        *(302, 313, 322, 391, 393, 402, 405, 406, 407, 410, 424, 426),
    ),
    "chin": (
        *(32, 140, 148, 149, 150, 152, 169, 170, 171, 175, 176, 194, 199, 200, 201, 208, 211, 262, 369),
        *(377, 378, 379, 394, 395, 396, 400, 418, 421, 428, 431),
    ),
}
_BROWS: Final = ("brow_left", "brow_right")
_EYES: Final = ("eye_left", "eye_right")
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("AU01_r", "AU02_r", "AU04_r"), (*_BROWS, *_EYES)),
    **dict.fromkeys(("AU05_r", "AU07_r", "AU45_r"), _EYES),
    "AU06_r": (*_EYES, "cheek_left", "cheek_right"),
    "AU09_r": ("nose",),
    **dict.fromkeys(("AU14_r", "AU20_r", "AU23_r", "AU25_r"), ("mouth",)),
    **dict.fromkeys(("AU10_r", "AU12_r", "AU15_r"), ("mouth", "nose")),
    **dict.fromkeys(("AU17_r", "AU26_r"), ("mouth", "nose", "chin")),
}
"""Parts that must be in sight for a channel: those its definition measures most (``docs/features.md``);
both sides, as a channel is the mean of both."""

PARTS: Final = tuple(_PARTS)


def _adjacent(*pairs: tuple[str, str]) -> NDArray[np.bool_]:
    adjacent = np.zeros((len(PARTS), len(PARTS)), bool)
    for one, other in pairs:
        adjacent[PARTS.index(one), PARTS.index(other)] = adjacent[PARTS.index(other), PARTS.index(one)] = True
    return adjacent


CHANNELS_OF_PARTS: Final[NDArray[np.bool_]] = np.array(
    [[part in _NEEDS[channel] for channel in AU_CHANNELS] for part in PARTS]
)
"""(parts, action units): what is missing when a part is covered."""

_NEIGHBOURS: Final[NDArray[np.bool_]] = _adjacent(
    *(("brow_left", "brow_right"), ("brow_left", "eye_left"), ("brow_right", "eye_right")),
    *(("eye_left", "cheek_left"), ("eye_right", "cheek_right"), ("eye_left", "nose"), ("eye_right", "nose")),
    *(("nose", "cheek_left"), ("nose", "cheek_right"), ("nose", "mouth"), ("mouth", "chin")),
    *(("mouth", "cheek_left"), ("mouth", "cheek_right")),
)
_SIDES: Final = np.array([("right" in part) - ("left" in part) for part in PARTS], float)
"""Yaw is positive where the image's right side of the face is turned away."""
_INDEX: Final = np.concatenate([np.array(indices) for indices in _PARTS.values()])
_COUNTS: Final = np.array([len(indices) for indices in _PARTS.values()])
_STARTS: Final = np.concatenate([[0], np.cumsum(_COUNTS)[:-1]])
_WIDTH_PX: Final = 64
"""Larger faces are sampled from every second, third … pixel."""
_BLUR: Final = 3 / 64
"""Of the face's width: what brightness is averaged over, so that near and far faces are equally sharp."""
_DARKNESS: Final = 10.0
"""Added before the logarithm, or noise in the shadows would count as change."""
_MOST_CHANGE: Final = 0.4
"""A point can differ by no more, so that a single glint doesn't decide for its part."""
_SHADING_ROUNDS: Final = 3
_SHADING_EVERY: Final = 3
"""Every third point is enough to fit a plane."""
_TINY: Final = 1e-6 * np.eye(3, dtype=np.float32)
_TO_CAMERA: Final = np.array([1.0, -1.0, -1.0], np.float32)
_LONGEST_STEP_S: Final = 0.2
_NO_SECOND_MAP: Final[Any] = None
"""For ``cv2.remap``, whose type stubs ask for an array: x and y come in one map."""


class Coverage:
    """What one person's face looks like, and which parts of it no longer do."""

    def __init__(self, limits: CoverageLimits = LIMITS) -> None:
        self._limits = limits
        self._fit = MeshFit()
        self.start_over()

    def start_over(self) -> None:
        """Forget the face: another one is followed."""
        self._fit.start_over()
        self._usual: _Floats | None = None
        self._pose = np.zeros(2)
        self._seen = np.zeros(len(PARTS), np.intp)
        self._last_ms = self._next_ms = 0
        self._answer = np.zeros(len(PARTS), bool)
        self._covered = np.zeros(len(PARTS), bool)
        self._agreed = np.zeros(len(PARTS), np.intp)
        self._covered_s = np.zeros(len(PARTS))

    def covered(self, rgb: NDArray[np.uint8], face: Face, timestamp_ms: int) -> NDArray[np.bool_]:
        """(parts,) what lies behind something in this frame, in the order of ``PARTS``."""
        if timestamp_ms >= self._next_ms:
            self._answer = self._look(rgb, face, timestamp_ms)
            calm = (
                not (self._agreed.any() or self._answer.any()) and self._seen.max() > self._limits.looks_close
            )
            self._next_ms = timestamp_ms + round(self._limits.look_every_s * 1000) * calm
        return self._answer.copy()

    def _look(self, rgb: NDArray[np.uint8], face: Face, timestamp_ms: int) -> NDArray[np.bool_]:
        if self._fit.slipped(face, timestamp_ms):  # what lies under the mesh is not what it says
            return np.ones(len(PARTS), bool)
        points = face.points[_INDEX]
        height, width = rgb.shape[:2]
        inside = (points[:, :2] >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)
        out_of_frame = _mean(inside.astype(np.float32)) < 0.5
        return self._compared(_brightness(rgb, face), face, timestamp_ms) | out_of_frame

    def _compared(self, now: _Floats, face: Face, timestamp_ms: int) -> NDArray[np.bool_]:
        limits, pose = self._limits, np.degrees(rotation_angles(face.rotation)[:2])
        step_s = min(max(timestamp_ms - self._last_ms, 1) / 1000, _LONGEST_STEP_S)
        self._last_ms = timestamp_ms
        towards = _SIDES * pose[1] < limits.aside_deg
        self._seen += towards
        if self._usual is None:
            self._usual, self._pose = now, pose
            return self._covered
        share = 1.0 - float(np.exp(-step_s / limits.memory_s))
        turned = float(np.hypot(*(pose - self._pose)))
        self._pose = self._pose + max(share, 1.0 / self._seen.max()) * (pose - self._pose)
        allowance = min(1.0 + limits.per_degree * max(turned - limits.still_deg, 0.0), limits.most)

        shading = _shading(now - self._usual, face)
        change = now - self._usual - shading
        differs = _mean(np.minimum(np.abs(change), _MOST_CHANGE)) / allowance
        pattern = (1.0 - _correlation(now, self._usual)) / allowance
        self._decide(differs, pattern, towards, step_s)
        # What may be the first of a hand is not learned, unless a turn of the head explains it: a turn
        # that is never learned stays odd.
        odd = (differs * allowance > limits.differs_no_more) & (pattern * allowance > limits.pattern_no_more)
        learn = towards & ~self._covered & ~(odd & (turned < limits.still_deg))
        # The first looks at a part count alike; the very first is what it looks like.
        shares = learn * np.maximum(share, 1.0 / np.maximum(self._seen, 1))
        self._usual = self._usual + shading * share + change * np.repeat(shares, _COUNTS)
        self._forget(now)
        return self._covered

    def _decide(self, differs: _Floats, pattern: _Floats, towards: NDArray[np.bool_], step_s: float) -> None:
        limits = self._limits
        beside = np.where((_NEIGHBOURS & self._covered).any(axis=1), limits.beside, 1.0)
        hot = (differs > limits.differs * beside) & (pattern > limits.pattern * beside)
        hot &= towards & (self._seen > limits.looks_first)
        free = (differs < limits.differs_no_more) | (pattern < limits.pattern_no_more)
        self._agreed = np.where(np.where(self._covered, free, hot), self._agreed + 1, 0)
        turn = self._agreed >= np.where(self._covered, limits.looks_free, limits.looks)
        self._covered = self._covered ^ turn
        self._agreed[turn] = 0
        self._covered_s = np.where(self._covered, self._covered_s + step_s, 0.0)

    def _forget(self, now: _Floats) -> None:
        long = self._covered_s > self._limits.forget_s
        if long.any() and self._usual is not None:
            self._usual = np.where(np.repeat(long, _COUNTS), now, self._usual)
            self._covered = self._covered & ~long


def _brightness(rgb: NDArray[np.uint8], face: Face) -> _Floats:
    """(points,) log brightness where the landmarks lie, at the same sharpness for every size of face."""
    height, width = rgb.shape[:2]
    corners = face.points[:, :2]
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, (width - 1, height - 1))
    right, bottom = np.clip(
        np.ceil(corners.max(axis=0)).astype(int) + 3, (left + 1, top + 1), (width, height)
    )
    face_px = max(face_width_px(face), 1.0)
    every = max(int(face_px / _WIDTH_PX), 1)  # a face of a 4K frame needs no more
    grey = cv2.cvtColor(np.ascontiguousarray(rgb[top:bottom:every, left:right:every]), cv2.COLOR_RGB2GRAY)
    blur = max(round(_BLUR * face_px / every), 1)
    places = (corners[_INDEX] - (left, top)) / every
    sampled = cv2.remap(
        cv2.blur(grey, (blur, blur)),
        places[None].astype(np.float32),
        _NO_SECOND_MAP,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(np.log(sampled[0].astype(np.float32) + _DARKNESS), np.float32)


def _shading(change: _Floats, face: Face) -> _Floats:
    """The part of a change that light does: a slope over the face, fitted so that a hand has no say.

    Tukey's biweight, so that up to nearly half of the points may lie under something.
    """
    camera = face.points[_INDEX] * _TO_CAMERA
    across = ((camera - camera.mean(axis=0)) @ face.rotation)[:, :2]
    slopes = np.empty((len(across), 3), np.float32)
    slopes[:, 0] = 1.0
    slopes[:, 1:] = across / np.abs(across).max()
    some, asked = slopes[::_SHADING_EVERY], change[::_SHADING_EVERY]
    weighted = some
    for _ in range(_SHADING_ROUNDS):
        slope = np.linalg.solve(weighted.T @ some + _TINY, weighted.T @ asked)
        left_over = asked - some @ slope
        size = np.abs(left_over)
        spread = max(1.48 * float(np.partition(size, len(size) // 2)[len(size) // 2]), 0.01)
        trust = np.square(np.maximum(1.0 - np.square(size / (4.7 * spread)), 0.0))
        weighted = some * trust[:, None]
    return np.asarray(slopes @ slope, np.float32)


def _mean(values: _Floats) -> _Floats:
    """(parts,) mean over each part's points."""
    return np.asarray(np.add.reduceat(values, _STARTS) / _COUNTS, np.float32)


def _correlation(one: _Floats, other: _Floats) -> _Floats:
    """(parts,) Pearson's correlation over each part's points."""
    one_mean, other_mean = _mean(one), _mean(other)
    one_spread = _mean(one * one) - one_mean * one_mean
    other_spread = _mean(other * other) - other_mean * other_mean
    together = _mean(one * other) - one_mean * other_mean
    return np.asarray(together / np.sqrt(np.maximum(one_spread * other_spread, 0.0) + 1e-9), np.float32)
