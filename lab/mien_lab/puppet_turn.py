"""A head turned about its vertical axis: a :class:`Stage` and an angle in, a map for the renderer out.

The velocity fields of :mod:`puppet_expressions` sway a head by a few degrees, which is what a talking
person does. Turns of 20° need the real thing: the face's relief is rotated, its far side shortens, and
what comes to lie behind the nose is hidden. A distant camera is assumed, so rows of the picture stay rows.
"""

import numpy as np

from mien_lab.puppet_expressions import (
    HEAD_CELLS,
    PIVOT_DEPTH,
    depth,
    head_grid,
    held,
    relative,
)
from mien_lab.puppet_face import EYE_DISTANCE, EYES_AT, Floats, Stage


def yaw_map(stage: Stage, yaw_rad: float) -> Floats:
    """Where each cell of the turned head comes from.

    Parameters
    ----------
    yaw_rad : positive to the image's right.

    Returns
    -------
    (rows, columns, 2) float32: displacement to the source in stage pixels, on ``HEAD_CELLS``.
    """
    grid = head_grid()
    x = relative(grid, EYES_AT)[0].astype(np.float64)
    angle = yaw_rad * held(stage, grid)
    turned = x * np.cos(angle) + (PIVOT_DEPTH - depth(stage, grid)) * np.sin(angle)
    # The nose hides what would come to lie before its tip, seen along the turn.
    if yaw_rad >= 0:
        visible = np.maximum.accumulate(turned, axis=1)
    else:
        visible = np.minimum.accumulate(turned[:, ::-1], axis=1)[:, ::-1]
    visible += np.arange(x.shape[1]) * 1e-6  # strictly rising, for the interpolation
    source = np.stack([np.interp(at, seen, at) for at, seen in zip(x, visible, strict=True)])
    displacement = np.zeros((HEAD_CELLS[1], HEAD_CELLS[0], 2), np.float32)
    displacement[:, :, 0] = (source - x) * EYE_DISTANCE
    return displacement
