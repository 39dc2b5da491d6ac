"""Concordance correlation coefficient, from traces and from sufficient statistics.

A site sends the six sums of :class:`Moments` instead of per-frame predictions, so the server's
pooled CCC is exact and no trace leaves the site.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import ShapeError

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

_CONSTANT = 1e-6
"""Standard deviation of ratings below which float32's rounding is all that varies; they span 2."""

_ROUNDING = 1e-12
"""Share of the mean square below which a spread is what rounding left of a constant trace."""


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of paired traces x (prediction) and y (target).

    n, Σx, Σy, Σx², Σy², Σxy over the frames that count. Adding two pools their frames.
    """

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    @property
    def target_varies(self) -> bool:
        """Whether y does. Ratings that never change tell nothing of agreement: a CCC of 0 is made up."""
        return self.n > 0 and self.yy / self.n - (self.y / self.n) ** 2 > _CONSTANT**2

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.yy + other.yy,
            self.xy + other.xy,
        )


def moments(prediction: Array, target: Array, mask: Mask | None = None, *, centre: float = 0.0) -> Moments:
    """Sufficient statistics of two traces for :func:`ccc_from_moments`.

    Parameters
    ----------
    prediction, target : (frames,) float
        Two traces on the same clock. Values outside ``mask`` are ignored, NaN included.
    mask : (frames,) bool, optional
        Frames that count; all of them when omitted.
    centre : taken from both traces first, which changes no CCC. Squares of traces that vary little far from
        zero lose what varies to rounding; about a number near them they keep it. Everyone whose sums are to
        be added takes the same number. Ratings lie in [−1, 1], and Mien's sites take 0.

    Raises
    ------
    ShapeError
        The arrays are not one-dimensional or differ in length.
    """
    x, y = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    keep = np.ones(x.shape, bool) if mask is None else np.asarray(mask, bool)
    if x.ndim != 1 or not x.shape == y.shape == keep.shape:
        raise ShapeError(
            f"CCC needs traces of one length, got prediction {x.shape}, target {y.shape}, mask {keep.shape}"
        )
    x, y = x[keep] - centre, y[keep] - centre
    return Moments(float(x.size), float(x.sum()), float(y.sum()), float(x @ x), float(y @ y), float(x @ y))


def ccc_from_moments(pooled: Moments) -> float:
    """Concordance correlation coefficient (Lin, 1989) of the frames behind ``pooled``.

    Returns
    -------
    float in [-1, 1]; NaN when fewer than two frames count or both traces are constant and equal.
    """
    if pooled.n < 2:
        return float("nan")
    mean_x, mean_y = pooled.x / pooled.n, pooled.y / pooled.n
    # Cancellation can push a constant trace's variance a hair below zero.
    variance_x = max(pooled.xx / pooled.n - mean_x**2, 0.0)
    variance_y = max(pooled.yy / pooled.n - mean_y**2, 0.0)
    covariance = pooled.xy / pooled.n - mean_x * mean_y
    spread = variance_x + variance_y + (mean_x - mean_y) ** 2
    rounding = _ROUNDING * (pooled.xx + pooled.yy) / pooled.n
    return float(2 * covariance / spread) if spread > rounding else float("nan")


def ccc(prediction: Array, target: Array, mask: Mask | None = None) -> float:
    """Concordance correlation coefficient (Lin, 1989) of two traces.

    Parameters and errors are those of :func:`moments`, the value that of :func:`ccc_from_moments`;
    the sums are taken about one of the target's values, which keeps them exact for traces far from
    zero, and exactly zero for equal constant ones.
    """
    x, y = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    keep = np.ones(y.shape, bool) if mask is None else np.asarray(mask, bool)
    centre = float(y[keep][0]) if y.ndim == 1 and y.shape == keep.shape and keep.any() else 0.0
    return ccc_from_moments(moments(x, y, mask, centre=centre))
