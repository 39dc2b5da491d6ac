"""One face, one action unit at a time: a :class:`Stage` in, pictures of it showing chosen action units out.

For the directed test of ``mien_client.face.action_units``. Each unit is one velocity field, drawn after the
appearance changes that FACS describes for it (Ekman & Friesen, 1978; Ekman, Friesen & Hager, 2002) and
independently of how the product measures it. Weight 1 is intensity D to E: lengths are in eye distances
(about 9 cm on an adult), and no larger than people show at their maximum.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_lab.puppet_expressions import (
    EXPRESSIONS,
    FACE_CELL_PX,
    FACE_ORIGIN,
    below_eyes,
    below_lids,
    brow_band,
    bump,
    expression_fields,
    face_grid,
    flow,
    inner_lips,
    jaw_drop,
    lid_close,
    relative,
    sampled,
    smooth_step,
    velocities,
)
from mien_lab.puppet_face import (
    EYE_DISTANCE,
    EYES_AT,
    LOWER_LIDS,
    UPPER_LIDS,
    Floats,
    Image,
    Stage,
    curve,
)
from mien_lab.puppet_filming import rest
from mien_lab.puppet_render import FACE_HALVINGS, Framing, Light, Puppet, blend, mouth_light

_LIP_CORNERS: Final = ((61, -1.0), (291, 1.0))
"""Landmark, and the side it lies on: −1 image-left."""
_INNER_BROWS: Final = ((55, -1.0), (285, 1.0))
_NOSE_WINGS: Final = ((129, -1.0), (358, 1.0))
_NOSE_FLANKS: Final = ((198, -1.0), (420, 1.0))
_CHEEKS: Final = ((50, -1.0), (280, 1.0))
_UPPER_LIP: Final = 0
_LOWER_LIP: Final = 17
_CHIN_BOSS: Final = 199


def neutral_landmarks(stage: Stage) -> Floats:
    """(478, 3) stage pixels: where the landmarks lie once the photograph shows its neutral face."""
    landmarks = stage.landmarks.copy()
    there = (landmarks[None, :, :2] - np.array(FACE_ORIGIN, np.float32)) / np.float32(FACE_CELL_PX)
    step = flow(-_rest_velocity(stage), FACE_HALVINGS) * np.float32(FACE_CELL_PX)
    landmarks[:, :2] += sampled(step, there)[0]
    return landmarks


class UnitPuppet:
    """A neutral face seen by one camera; :meth:`render` is a pure function of the weights."""

    def __init__(self, stage: Stage, framing: Framing) -> None:
        self._puppet = Puppet(stage, framing, Light())
        self._rest = _rest_velocity(stage)
        self._fields = unit_fields(stage)
        self._opening_fields = opening_fields(stage)
        self._lip_gap = stage.lip_gap() * (1.0 - rest(stage).lips_close)

    def render(self, units: Mapping[int, float], turned: Floats) -> Image:
        """One frame.

        Parameters
        ----------
        units : weight by number of the action unit; the others are 0.
        turned : a map from :func:`~mien_lab.puppet_turn.yaw_map`.

        Returns
        -------
        (480, 640, 3) uint8, BGR
        """
        openings, others = (
            np.array([units.get(unit, 0.0) for unit in drawn], np.float32) for drawn in (_OPENINGS, _DRAWN)
        )
        # A mouth opens best where the photograph holds it open; all else starts from the neutral face.
        photo_to_open = self._rest + blend(openings, self._opening_fields)
        parted = sum(by * units.get(unit, 0.0) for unit, by in _LIPS_PARTED.items())
        light = mouth_light(max(self._lip_gap + parted, 0.0))
        return self._puppet.render_moved([blend(others, self._fields), photo_to_open], turned, light)


def unit_fields(stage: Stage) -> Floats:
    """(units, rows, columns, 2) velocities in cells for weight 1, on the neutral face."""
    grid, neutral = face_grid(), replace(stage, landmarks=neutral_landmarks(stage))
    return velocities(np.stack([draw(neutral, grid) for draw in _DRAWN.values()]).astype(np.float32))


def opening_fields(stage: Stage) -> Floats:
    """(units, rows, columns, 2) velocities of the units that open the mouth, on the photograph's face."""
    grid = face_grid()
    return velocities(np.stack([draw(stage, grid) for draw in _OPENINGS.values()]).astype(np.float32))


def _inner_brow_raise(stage: Stage, grid: Floats) -> Floats:
    """AU1: the inner ends of the brows rise, and the middle of the forehead with them."""
    inner = smooth_step((0.42 - np.abs(relative(grid, EYES_AT)[0])) / 0.30)
    return _vertical(-0.10 * brow_band(stage, grid, 0.25) * inner)


def _outer_brow_raise(stage: Stage, grid: Floats) -> Floats:
    """AU2: the outer part of the brows rises, and arches them."""
    outer = smooth_step((np.abs(relative(grid, EYES_AT)[0]) - 0.16) / 0.24)
    return _vertical(-0.10 * brow_band(stage, grid, 0.25) * outer)


def _brow_lower(stage: Stage, grid: Floats) -> Floats:
    """AU4: the brows sink and draw together, the inner ends most."""
    inner = smooth_step((0.60 - np.abs(relative(grid, EYES_AT)[0])) / 0.55)
    field = _vertical(0.080 * brow_band(stage, grid, 0.20) * (0.35 + 0.65 * inner))
    for brow, side in _INNER_BROWS:
        field[:, :, 0] += bump(stage, grid, brow, (0.15, 0.12), (-side * 0.055, 0.0))[:, :, 0]
    return field


def _upper_lid_raise(stage: Stage, grid: Floats) -> Floats:
    """AU5: the upper lid retracts by some 2 mm and shows more of the eyeball."""
    return -0.40 * _upper_lid_fall(stage, grid)


def _cheek_raise(stage: Stage, grid: Floats) -> Floats:
    """AU6: cheek and lower lid are pushed up; the skin beside the eye is drawn towards it."""
    field = np.zeros_like(grid)
    for cheek, side in _CHEEKS:
        field += bump(stage, grid, cheek, (0.20, 0.13), (-side * 0.006, -0.075))
    for corner, side in ((33, -1.0), (263, 1.0)):
        field += bump(stage, grid, corner, (0.10, 0.10), (-side * 0.014, 0.006))
    field[:, :, 1] *= 0.25 + 0.75 * below_eyes(stage, grid)
    field[:, :, 1] *= 1.0 - _below_mouth(stage, grid)
    return field + 0.38 * _lower_lid_rise(stage, grid)


def _lid_tighten(stage: Stage, grid: Floats) -> Floats:
    """AU7: the lower lid rises and straightens, the upper one sinks a little: narrowed eyes."""
    return 0.30 * _lower_lid_rise(stage, grid) + 0.18 * _upper_lid_fall(stage, grid)


def _nose_wrinkle(stage: Stage, grid: Floats) -> Floats:
    """AU9: the skin along the nose and its wings are pulled up, the brows' inner ends down."""
    field = np.zeros_like(grid)
    for wing, _ in _NOSE_WINGS:
        field += bump(stage, grid, wing, (0.10, 0.10), (0.0, -0.060))
    for flank, _ in _NOSE_FLANKS:
        field += bump(stage, grid, flank, (0.08, 0.12), (0.0, -0.025))
    field += bump(stage, grid, _UPPER_LIP, (0.16, 0.07), (0.0, -0.018))
    for brow, side in _INNER_BROWS:
        field += bump(stage, grid, brow, (0.10, 0.08), (-side * 0.010, 0.028))
    return field


def _upper_lip_raise(stage: Stage, grid: Floats) -> Floats:
    """AU10: the middle of the upper lip is drawn straight up, the infraorbital triangle pushed up."""
    upper, lower = inner_lips(stage, grid[0, :, 0])
    field = np.zeros_like(grid)
    for lip in (37, 267):
        field += bump(stage, grid, lip, (0.13, 0.10), (0.0, -0.042))
    for cheek, _ in ((203, -1.0), (423, 1.0)):
        field += bump(stage, grid, cheek, (0.10, 0.10), (0.0, -0.020))
    field[:, :, 1] *= _above_gap(grid, upper, lower)
    return field


def _lip_corner_pull(stage: Stage, grid: Floats) -> Floats:
    """AU12: the lip corners move up and outwards, the cheeks are pushed up and the furrow deepens."""
    field = np.zeros_like(grid)
    for corner, side in _LIP_CORNERS:
        field += bump(stage, grid, corner, (0.16, 0.14), (side * 0.080, -0.090))
    for cheek, side in ((205, -1.0), (425, 1.0)):
        field += bump(stage, grid, cheek, (0.14, 0.12), (side * 0.012, -0.020))
    field *= 1.0 - 0.85 * bump(stage, grid, 4, (0.14, 0.14), (1.0, 1.0))  # the nose keeps its shape
    field[:, :, 1] *= below_eyes(stage, grid)
    return field


def _dimple(stage: Stage, grid: Floats) -> Floats:
    """AU14: the corners are drawn back and tightened; the skin around them gathers towards them."""
    field = np.zeros_like(grid)
    for corner, side in _LIP_CORNERS:
        place = stage.landmarks[corner, :2]
        field += bump(stage, grid, corner, (0.09, 0.09), (side * 0.035, -0.006))
        field += _gathered(grid, place + np.array([side * 4.0, 0.0]), 0.12, 0.55)
    return field


def _lip_corner_depress(stage: Stage, grid: Floats) -> Floats:
    """AU15: the lip corners are pulled down."""
    field = np.zeros_like(grid)
    for corner, side in _LIP_CORNERS:
        field += bump(stage, grid, corner, (0.12, 0.12), (side * 0.010, 0.075))
    return field


def _chin_raise(stage: Stage, grid: Floats) -> Floats:
    """AU17: the chin boss is pushed up, and the lower lip with it; the mouth arches."""
    field = bump(stage, grid, _CHIN_BOSS, (0.19, 0.11), (0.0, -0.065))
    field += bump(stage, grid, _LOWER_LIP, (0.15, 0.07), (0.0, -0.035))
    field += bump(stage, grid, _UPPER_LIP, (0.12, 0.05), (0.0, -0.012))
    return field


def _lip_stretch(stage: Stage, grid: Floats) -> Floats:
    """AU20: the corners are pulled straight aside, the lips lengthen and flatten."""
    field = np.zeros_like(grid)
    for corner, side in _LIP_CORNERS:
        field += bump(stage, grid, corner, (0.20, 0.12), (side * 0.095, 0.010))
    return field


def _lips_tighten(stage: Stage, grid: Floats) -> Floats:
    """AU23: the red parts of both lips narrow and the mouth draws in a little."""
    upper, lower = inner_lips(stage, grid[0, :, 0])
    middle = (upper + lower) / 2
    offset = (grid[:, :, 1] - middle) / EYE_DISTANCE
    x = relative(grid, stage.landmarks[[61, 291], :2].mean(0))[0]
    half = float(stage.landmarks[291, 0] - stage.landmarks[61, 0]) / EYE_DISTANCE / 2
    across = smooth_step((half * 1.25 - np.abs(x)) / (half * 0.5))
    towards = -np.clip(offset / 0.05, -1.0, 1.0) * np.exp(
        -np.square(np.maximum(np.abs(offset) - 0.05, 0.0) / 0.07)
    )
    field = _vertical(0.040 * towards * across)
    for corner, side in _LIP_CORNERS:
        field += bump(stage, grid, corner, (0.10, 0.08), (-side * 0.018, 0.0))
    return field


def _lips_part(stage: Stage, grid: Floats) -> Floats:
    """AU25: the lips come apart, the lower one most; the jaw stays."""
    upper, lower = inner_lips(stage, grid[0, :, 0])
    x = relative(grid, stage.landmarks[[13, 14], :2].mean(0))[0]
    across = np.exp(-np.square(x / 0.17))
    half = np.maximum((lower - upper) / 2, 0.015 * EYE_DISTANCE)
    offset = grid[:, :, 1] - (upper + lower) / 2
    apart = np.clip(offset / half, -1.0, 1.0)
    beyond = np.maximum(np.abs(offset) - half, 0.0) / EYE_DISTANCE
    push = np.where(offset > 0, 0.078, 0.026) * np.exp(-np.square(beyond / np.where(offset > 0, 0.14, 0.10)))
    return _vertical(apart * push * across)


def _jaw_drop(stage: Stage, grid: Floats) -> Floats:
    """AU26: the jaw falls by some 16 mm and the mouth opens."""
    return jaw_drop(stage, grid) * 0.9


def _eyes_close(stage: Stage, grid: Floats) -> Floats:
    """AU45, held: the upper lid slides down over the eyeball."""
    return 1.08 * _upper_lid_fall(stage, grid)


_DRAWN: Final[Mapping[int, Callable[[Stage, Floats], Floats]]] = {
    1: _inner_brow_raise,
    2: _outer_brow_raise,
    4: _brow_lower,
    5: _upper_lid_raise,
    6: _cheek_raise,
    7: _lid_tighten,
    9: _nose_wrinkle,
    10: _upper_lip_raise,
    12: _lip_corner_pull,
    14: _dimple,
    15: _lip_corner_depress,
    17: _chin_raise,
    20: _lip_stretch,
    23: _lips_tighten,
    45: _eyes_close,
}
_OPENINGS: Final[Mapping[int, Callable[[Stage, Floats], Floats]]] = {25: _lips_part, 26: _jaw_drop}

UNITS: Final = tuple(sorted({**_DRAWN, **_OPENINGS}))
"""The action units that can be driven, by their FACS numbers, in the order of the schema."""

_LIPS_PARTED: Final[Mapping[int, float]] = {10: 0.04, 17: -0.03, 23: -0.03, 25: 0.104, 26: 0.18}
"""How far a unit at weight 1 parts the lips: light falls between them."""


def _vertical(speed: NDArray[np.floating]) -> Floats:
    return np.stack([np.zeros_like(speed), speed], -1).astype(np.float32)


def _above_gap(grid: Floats, upper: Floats, lower: Floats) -> Floats:
    """1 above the mouth's opening, 0 below it."""
    return 1.0 - smooth_step((grid[:, :, 1] - upper) / np.maximum(lower - upper, 2.0))


def _below_mouth(stage: Stage, grid: Floats) -> Floats:
    """0 at the height of the nose's base, 1 from the mouth line downwards."""
    base, mouth = stage.landmarks[2, 1], stage.landmarks[[61, 291], 1].mean()
    return smooth_step((grid[:, :, 1] - base) / (mouth - base))


def _upper_lid_fall(stage: Stage, grid: Floats) -> Floats:
    """The upper lid slides down by the height of the eye's opening; the brow stays."""
    field = lid_close(stage, grid)
    field[:, :, 1] *= below_lids(stage, grid)
    return field


def _lower_lid_rise(stage: Stage, grid: Floats) -> Floats:
    """The lower lid slides up by the height of the eye's opening; the skin below follows."""
    field = np.zeros_like(grid)
    for upper_lid, lower_lid in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        corners = np.sort(stage.landmarks[[lower_lid[0], lower_lid[-1]], 0])
        columns = grid[0, :, 0]
        upper, lower = (curve(stage.landmarks, lid, columns) for lid in (upper_lid, lower_lid))
        gap = np.maximum(lower - upper, 0.0) / EYE_DISTANCE
        gap = np.where((columns < corners[0]) | (columns > corners[1]), 0.0, gap)
        below = (grid[:, :, 1] - lower) / EYE_DISTANCE
        within = np.clip((gap + below) / np.maximum(0.4 * gap, 0.015), 0.0, 1.0)
        beneath = smooth_step(1.0 - below / 0.14)
        field[:, :, 1] -= np.where(below > 0, beneath, within) * gap
    field[:, :, 1] = cv2.GaussianBlur(field[:, :, 1], (0, 0), 0.8)
    return field


def _gathered(grid: Floats, centre: Floats, reach: float, rate: float) -> Floats:
    """Everything within ``reach`` drawn towards a point."""
    offset = np.stack(relative(grid, centre), -1)
    near = np.exp(-0.5 * np.square(offset / reach).sum(-1, keepdims=True))
    return np.asarray(-rate * offset * near, np.float32)


def _rest_velocity(stage: Stage) -> Floats:
    weights = np.zeros(len(EXPRESSIONS), np.float32)
    for name, weight in rest(stage).model_dump().items():
        weights[EXPRESSIONS.index(name)] = weight
    return blend(weights, expression_fields(stage))
