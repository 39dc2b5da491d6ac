"""How a face moves: a :class:`Stage` in, one velocity field per expression and head movement out.

Expressions are velocity fields, not displacements: a frame follows the weighted sum of them for one
unit of time (:func:`flow`). Such a flow never folds or tears the picture, whatever the weights
(Arsigny et al., 2006), and it closes an eye or a mouth the way skin does: ever slower, never through.
All lengths are in eye distances.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_lab.puppet_face import (
    EYE_DISTANCE,
    EYES_AT,
    LOWER_INNER_LIP,
    LOWER_LIDS,
    STAGE_SIZE,
    UPPER_INNER_LIP,
    UPPER_LIDS,
    Floats,
    Stage,
    curve,
)

EXPRESSIONS: Final = (
    "smile",
    "lip_corner_depress",
    "lips_close",
    "jaw_drop",
    "brow_raise",
    "frown",
    "lid_close",
)
"""Weight 0 is the photograph; 1 is strong; negative is the opposite movement where there is one."""

HEAD: Final = ("yaw", "pitch", "roll", "shift_x", "shift_y")
"""Radians (positive: to the image's right, down, clockwise) and eye distances."""

FACE_CELL_PX: Final = 2
FACE_ORIGIN: Final = (300, 150)
FACE_CELLS: Final = (180, 186)
"""Expressions are computed on this part of the stage, one cell every ``FACE_CELL_PX`` pixels."""
HEAD_CELL_PX: Final = 8
HEAD_CELLS: Final = (STAGE_SIZE[0] // HEAD_CELL_PX, STAGE_SIZE[1] // HEAD_CELL_PX)

NO_SECOND_MAP: Final[Any] = None
"""For ``cv2.remap``: x and y come in one map. Its type stubs ask for an array, but OpenCV 5.0 warps
8-bit pictures wrongly when that is an empty one."""

_JAW_FALL: Final = 0.20
"""How far jaw_drop 1 lowers the lower lip."""
CORNER_LIFT: Final = 0.10
"""How far smile 1 lifts the lip corners."""
_BROWS: Final = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
_LIP_CORNERS: Final = (61, 291)
_CHEEKS: Final = (205, 425)
_CHIN: Final = 152
PIVOT_DEPTH: Final = 0.95
"""The head turns about a point this far behind the eyes."""


def flow(velocity: Floats, halvings: int) -> Floats:
    """Where each cell comes from after following ``velocity`` (cells) backwards for one unit of time.

    Scaling and squaring: a tiny step, composed with itself ``halvings`` times.

    Parameters
    ----------
    velocity : (rows, columns, 2) float32

    Returns
    -------
    (rows, columns, 2) float32: displacement to the source, in cells.
    """
    rows, columns = velocity.shape[:2]
    grid = _grid(rows, columns)
    step = velocity * np.float32(-(0.5**halvings))
    for _ in range(halvings):
        step = step + sampled(step, grid + step)
    return np.asarray(step, np.float32)


def sampled(field: Floats, at: Floats) -> Floats:
    """(…, 2) values of a field at positions between its cells; nothing moves outside it."""
    return np.asarray(cv2.remap(field, at, NO_SECOND_MAP, cv2.INTER_LINEAR), np.float32)


def expression_fields(stage: Stage) -> Floats:
    """(expressions, rows, columns, 2) velocities in cells, ordered as ``EXPRESSIONS``, for weight 1."""
    grid = face_grid()
    fields = np.stack(
        [
            _smile(stage, grid),
            _lip_corner_depress(stage, grid),
            _lips_close(stage, grid),
            jaw_drop(stage, grid),
            _brow_raise(stage, grid),
            _frown(stage, grid),
            lid_close(stage, grid),
        ]
    )
    return velocities(fields)


def face_grid() -> Floats:
    """(rows, columns, 2): the stage position of every cell that expressions are computed on."""
    columns, rows = FACE_CELLS
    return _grid(rows, columns) * FACE_CELL_PX + np.array(FACE_ORIGIN, np.float32)


def velocities(fields: Floats) -> Floats:
    """Fields in eye distances as velocities in cells, still at the border so that there is no seam."""
    columns, rows = FACE_CELLS
    edge = np.minimum(np.arange(columns), np.arange(columns)[::-1])[None, :]
    edge = np.minimum(edge, np.minimum(np.arange(rows), np.arange(rows)[::-1])[:, None])
    fields = fields.copy()
    fields *= np.clip(edge / 15.0, 0.0, 1.0)[None, :, :, None]
    return np.asarray(fields * (EYE_DISTANCE / FACE_CELL_PX), np.float32)


def head_fields(stage: Stage) -> Floats:
    """(movements, rows, columns, 2) velocities in cells, ordered as ``HEAD``, for weight 1."""
    grid = head_grid()
    x, y = relative(grid, EYES_AT)
    on_head = held(stage, grid)
    lever = (PIVOT_DEPTH - depth(stage, grid)) * on_head
    still = np.zeros_like(x)
    neck = y - _chin_height(stage)
    fields = np.stack(
        [
            np.stack([lever, still], -1),
            np.stack([still, lever], -1),
            np.stack([-neck * on_head, x * on_head], -1),
            np.stack([on_head, still], -1),
            np.stack([still, on_head], -1),
        ]
    )
    return np.asarray(fields * (EYE_DISTANCE / HEAD_CELL_PX), np.float32)


def head_grid() -> Floats:
    """(rows, columns, 2): the stage position of every cell that head movements are computed on."""
    columns, rows = HEAD_CELLS
    return _grid(rows, columns) * HEAD_CELL_PX


def held(stage: Stage, grid: Floats) -> Floats:
    """How much a place moves with the head: 1 on it, 0 on background and shoulders."""
    x, y = relative(grid, EYES_AT)
    radius = np.hypot(x / 1.25, (y + 0.1) / np.where(y < -0.1, 1.5, _chin_height(stage) + 0.25))
    return smooth_step((1.75 - radius) / 0.75)


def _chin_height(stage: Stage) -> float:
    return (stage.landmarks[_CHIN, 1] - EYES_AT[1]) / EYE_DISTANCE  # type: ignore[no-any-return]


def _smile(stage: Stage, grid: Floats) -> Floats:
    field = np.zeros_like(grid)
    for corner, cheek, side in zip(_LIP_CORNERS, _CHEEKS, (-1.0, 1.0), strict=True):
        field += bump(stage, grid, corner, (0.17, 0.15), (side * 0.075, -CORNER_LIFT))
        field += bump(stage, grid, cheek, (0.16, 0.14), (side * 0.010, -0.025))
    field += bump(stage, grid, 0, (0.14, 0.10), (0.0, -0.018))
    field *= 1.0 - 0.85 * bump(stage, grid, 4, (0.14, 0.14), (1.0, 1.0))  # the nose keeps its shape
    field[:, :, 1] *= below_eyes(stage, grid)
    return field


def _lip_corner_depress(stage: Stage, grid: Floats) -> Floats:
    field = np.zeros_like(grid)
    for corner, side in zip(_LIP_CORNERS, (-1.0, 1.0), strict=True):
        field += bump(stage, grid, corner, (0.13, 0.12), (side * 0.012, 0.075))
    field += bump(stage, grid, 17, (0.10, 0.09), (0.0, -0.03))  # the chin pushes the lower lip up
    return field


def _lips_close(stage: Stage, grid: Floats) -> Floats:
    """Both lips come together in the middle of the gap; weight w closes that share of it."""
    columns = grid[0, :, 0]
    upper, lower = inner_lips(stage, columns)
    half = (lower - upper) / 2
    offset = grid[:, :, 1] - (upper + lower) / 2
    beyond = np.maximum(np.abs(offset) - half, 0.0) / EYE_DISTANCE
    reach = np.where(offset > 0, 0.30, 0.16)  # the chin follows the lower lip, the nose stays
    # As fast in front of a lip as behind it, or the lips themselves would be squeezed.
    towards = -np.clip(offset / np.maximum(0.2 * half, 1.0), -1.0, 1.0)
    pull = towards * half / EYE_DISTANCE * np.exp(-np.square(beyond / reach))
    return np.stack([np.zeros_like(pull), pull], -1).astype(np.float32)


def jaw_drop(stage: Stage, grid: Floats) -> Floats:
    """All below the mouth line falls; the mouth itself opens between its upper and lower edge."""
    columns = grid[0, :, 0]
    upper, lower = inner_lips(stage, columns)
    left, right = stage.landmarks[78, 0], stage.landmarks[308, 0]
    beside = np.maximum(np.maximum(left - columns, columns - right), 0.0)
    half = np.maximum((lower - upper) / 2, 0.03 * EYE_DISTANCE) + 0.6 * beside
    side = np.clip((grid[:, :, 1] - (upper + lower) / 2) / (2 * half) + 0.5, 0.0, 1.0)
    chin = stage.landmarks[_CHIN]
    x, y = relative(grid, (chin[0], chin[1]))
    across = np.exp(-((np.abs(x) / 0.46) ** 3))
    beneath = smooth_step(1.0 - (y - 0.03) / 0.45)
    fall = np.asarray(_JAW_FALL * side * across * beneath, np.float32)
    return np.stack([np.zeros_like(fall), fall], -1)


def inner_lips(stage: Stage, columns: Floats) -> tuple[Floats, Floats]:
    """Upper and lower edge of the open mouth, in stage pixels; one line beyond its corners."""
    upper = curve(stage.landmarks, UPPER_INNER_LIP, columns)
    return upper, np.maximum(upper, curve(stage.landmarks, LOWER_INNER_LIP, columns))


def _brow_raise(stage: Stage, grid: Floats) -> Floats:
    return np.stack([np.zeros(grid.shape[:2], np.float32), -0.10 * brow_band(stage, grid, 0.30)], -1)


def _frown(stage: Stage, grid: Floats) -> Floats:
    """The inner ends of the brows sink and draw together."""
    field = np.zeros_like(grid)
    for inner, side in ((55, 1.0), (285, -1.0)):
        field += bump(stage, grid, inner, (0.18, 0.12), (side * 0.045, 0.05))
    field[:, :, 1] += 0.04 * brow_band(stage, grid, 0.22)
    field[:, :, 1] *= 1.0 - below_lids(stage, grid)
    return field


def lid_close(stage: Stage, grid: Floats) -> Floats:
    """The upper lid slides towards the lower one; weight w closes that share of the eye."""
    field = np.zeros_like(grid)
    for upper_lid, lower_lid in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        corners = np.sort(stage.landmarks[[upper_lid[0], upper_lid[-1]], 0])
        columns = grid[0, :, 0]
        upper, lower = (curve(stage.landmarks, lid, columns) for lid in (upper_lid, lower_lid))
        gap = np.maximum(lower - upper, 0.0) / EYE_DISTANCE
        beside = np.maximum(np.maximum(corners[0] - columns, columns - corners[1]), 0.0) / EYE_DISTANCE
        gap = np.where(beside > 0, 0.0, gap)
        rise = (grid[:, :, 1] - upper) / EYE_DISTANCE
        within = np.clip((gap - rise) / np.maximum(0.2 * gap, 0.015), 0.0, 1.0)
        above = smooth_step(1.0 + (rise + 0.03) / 0.15)
        field[:, :, 1] += np.where(rise < 0, above, within) * gap
    field[:, :, 1] = cv2.GaussianBlur(field[:, :, 1], (0, 0), 0.8)
    return field


def brow_band(stage: Stage, grid: Floats, reach: float) -> Floats:
    """1 on the brows, fading to the lids below and over ``reach`` above and beside."""
    columns = grid[0, :, 0]
    brow = curve(stage.landmarks, [*_BROWS[0], *_BROWS[1]], columns)
    ends = stage.landmarks[[_BROWS[0][0], _BROWS[1][0]], 0]
    beside = np.maximum(np.maximum(ends[0] - columns, columns - ends[1]), 0.0) / EYE_DISTANCE
    over = np.maximum(brow - grid[:, :, 1], 0.0) / EYE_DISTANCE
    return np.asarray(
        np.exp(-np.square(over / reach) - np.square(beside / 0.15)) * (1.0 - below_lids(stage, grid)),
        np.float32,
    )


def below_lids(stage: Stage, grid: Floats) -> Floats:
    """0 above the brows' lower edge, 1 from the upper lids downwards."""
    columns = grid[0, :, 0]
    brow = curve(stage.landmarks, (46, 53, 52, 65, 55, 285, 295, 282, 283, 276), columns)
    lid = curve(stage.landmarks, [*UPPER_LIDS[0], *UPPER_LIDS[1]], columns) - 0.045 * EYE_DISTANCE
    return smooth_step((grid[:, :, 1] - brow) / np.maximum(lid - brow, 0.05 * EYE_DISTANCE))


def below_eyes(stage: Stage, grid: Floats) -> Floats:
    """0 on the lower lids, 1 from the cheekbones downwards."""
    lid = curve(stage.landmarks, [*LOWER_LIDS[0], *LOWER_LIDS[1]], grid[0, :, 0])
    return smooth_step((grid[:, :, 1] - lid) / (0.2 * EYE_DISTANCE))


def bump(
    stage: Stage, grid: Floats, landmark: int, reach: tuple[float, float], push: tuple[float, float]
) -> Floats:
    """A push that is full at a landmark and fades as a Gaussian with ``reach`` across and down."""
    x, y = relative(grid, stage.landmarks[landmark, :2])
    weight = np.exp(-0.5 * (np.square(x / reach[0]) + np.square(y / reach[1])))
    return np.asarray(weight[:, :, None] * np.array(push), np.float32)


def depth(stage: Stage, grid: Floats) -> Floats:
    """Distance from the camera over the head, in eye distances; level beyond the face's outline."""
    from scipy.interpolate import RBFInterpolator

    points = stage.landmarks[:468]
    angles = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
    ring = np.column_stack([1.5 * np.cos(angles), 1.9 * np.sin(angles)]) * EYE_DISTANCE + EYES_AT
    outline = float(np.percentile(points[:, 2], 97))
    behind = RBFInterpolator(
        np.concatenate([points[:, :2], ring]),
        np.concatenate([points[:, 2], np.full(len(ring), outline)]),
        kernel="linear",
        smoothing=20.0,
    )(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    behind = np.clip(behind, points[:, 2].min(), outline)
    return np.asarray(cv2.GaussianBlur(behind, (0, 0), 1.2) / EYE_DISTANCE, np.float32)


def relative(grid: Floats, origin: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """x and y of every cell from an origin, in eye distances."""
    scaled = (grid - np.asarray(origin, np.float32)) / np.float32(EYE_DISTANCE)
    return scaled[:, :, 0], scaled[:, :, 1]


def smooth_step(share: NDArray[np.floating]) -> Floats:
    """0 below 0, 1 above 1, and without a corner between."""
    clipped = np.clip(share, 0.0, 1.0)
    return np.asarray(clipped * clipped * (3.0 - 2.0 * clipped), np.float32)


@lru_cache(maxsize=4)
def _grid(rows: int, columns: int) -> Floats:
    """(rows, columns, 2): every cell's own x and y."""
    y, x = np.mgrid[:rows, :columns]
    grid = np.stack([x, y], -1).astype(np.float32)
    grid.flags.writeable = False
    return grid
