"""From what a network says to a rating: smoothed, at the raters' level and spread, on their clock.

Enters: predictions on the face's clock. Leaves: predictions on the ratings' own clock. What is fitted is
fitted to training people. The chain is that of the AVEC challenges' baselines (Valstar et al., 2016: median
filter, centring, scaling, time-shifting), with a moving average in the place of the median.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import Ratings
from .preparation import delayed, digest

_CONSTANT = 1e-6
"""Standard deviation below which a prediction has no spread to scale."""


@dataclass(frozen=True)
class PostProcessing:
    """A moving average, then ``scale`` · prediction + ``bias``, then a delay."""

    smoothing_frames: int
    """Odd; 1 is no smoothing."""
    bias: tuple[float, float]
    """Of valence and arousal, as all pairs here."""
    scale: tuple[float, float]

    @property
    def fitted(self) -> str:
        """SHA-256 of the numbers."""
        return digest([repr((self.smoothing_frames, self.bias, self.scale)).encode()])

    def apply(
        self,
        prediction: NDArray[np.float32],
        lag_frames: tuple[int, int],
        *,
        valid: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """The prediction as a rating.

        Parameters
        ----------
        prediction : (frames, 2) on the face's clock.
        lag_frames : by how much raters lag. The first frames, which nobody could have rated yet, repeat the
            first prediction.
        valid : (frames,) frames with a measured face, all of them when omitted. Others are not averaged over.

        Returns
        -------
        (frames, 2) on the ratings' own clock.
        """
        if not len(prediction):
            return prediction
        smooth = moving_average(prediction, self.smoothing_frames, valid)
        moved = np.asarray(self.scale) * smooth + np.asarray(self.bias)
        columns = [delayed(moved[:, column], frames) for column, frames in enumerate(lag_frames)]
        return np.stack(columns, axis=1).astype(np.float32)


def fit_postprocessing(
    predictions: Sequence[NDArray[np.float32]],
    targets: Sequence[NDArray[np.float32]],
    counts: Sequence[NDArray[np.bool_]],
    ratings: Ratings,
    rate_hz: float,
) -> PostProcessing:
    """Level and spread that make predictions on training people look like their ratings.

    Give the validation parts where there are some: on the frames that a network was fitted to, its spread
    flatters. ``ratings.centre`` takes the mean error away; ``ratings.scale`` multiplies the distance from the
    predictions' mean by the ratio of standard deviations. Both are over all the frames together.

    Parameters
    ----------
    predictions, targets : (frames, 2) each, on the face's clock, which the lag was taken off.
    counts : (frames,) each, frames that are rated and have a measured face.
    rate_hz : of the frames.

    Returns
    -------
    No centring and no scaling where no frame counts; no scaling where a prediction never changes.
    """
    smoothing = smoothing_frames(ratings.smoothing_s, rate_hz)
    x = _counted(
        [moving_average(trace, smoothing, mask) for trace, mask in zip(predictions, counts, strict=True)],
        counts,
    )
    y = _counted(targets, counts)
    if not len(x):
        return PostProcessing(smoothing, (0.0, 0.0), (1.0, 1.0))
    scale = np.ones(2)
    if ratings.scale:
        spread = x.std(axis=0)
        scale = np.where(spread > _CONSTANT, y.std(axis=0) / np.maximum(spread, _CONSTANT), 1.0)
    level = y.mean(axis=0) if ratings.centre else x.mean(axis=0)
    bias = level - scale * x.mean(axis=0)
    return PostProcessing(smoothing, (float(bias[0]), float(bias[1])), (float(scale[0]), float(scale[1])))


def smoothing_frames(smoothing_s: float, rate_hz: float) -> int:
    """The nearest odd number of frames: a centred average has a middle."""
    return 2 * round((smoothing_s * rate_hz - 1) / 2) + 1 if smoothing_s * rate_hz > 1 else 1


def moving_average(
    trace: NDArray[np.float32], frames: int, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """(frames, 2) centred mean over the valid ones of ``frames`` frames; shorter at the ends.

    A frame with no valid one around it keeps its own value.
    """
    values = np.asarray(trace, np.float64)
    if frames <= 1:
        return values
    weight = np.ones(len(values)) if valid is None else valid.astype(np.float64)
    half = frames // 2
    index = np.arange(len(values))
    first, last = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    sums = _running(np.where(weight[:, None] > 0, values, 0.0))
    known = _running(weight[:, None])
    counted = known[last] - known[first]
    return np.where(counted > 0.5, (sums[last] - sums[first]) / np.maximum(counted, 1.0), values)


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames + 1, …) sum of all the values before each frame."""
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])


def _counted(
    traces: Sequence[NDArray[np.floating]], counts: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """(frames, 2) the counted frames of all the traces."""
    kept = [trace[mask] for trace, mask in zip(traces, counts, strict=True)]
    return np.concatenate(kept).astype(np.float64) if kept else np.empty((0, 2))
