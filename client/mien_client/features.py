"""From observations of single frames to the ``au-v1`` features of a recording.

Enters: :class:`~mien_client.face_process.Observation` per frame, at the video's own times. Leaves:
40 channels on the schema's 25 Hz clock with a validity mask. A missing face is missing: such frames
are NaN and not valid, never zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import ShapeError
from mien_common.schema import AU_V1

from .observations import Observation

SHORTEST_BRIDGE_S: Final = 0.1
LONGEST_BRIDGE_S: Final = 0.25
"""Two observed faces are interpolated between over 1.5 frame intervals, within these bounds."""


@dataclass(frozen=True)
class Features:
    """A recording's features on the schema's clock."""

    time_s: NDArray[np.float64]
    """(frames,) seconds since the recording's start, every 1/25 s."""
    values: NDArray[np.float32]
    """(frames, 40) in the schema's order; NaN where not valid."""
    valid: NDArray[np.bool_]
    """(frames,) whether all 40 channels are known."""


def features_of(observations: Sequence[Observation]) -> Features:
    """The ``au-v1`` features of a recording's observations, in time order.

    Raises
    ------
    ShapeError
        There is no observation.
    """
    if not observations:
        raise ShapeError("features need at least one observed frame")
    times_s = np.array([observation.time_s for observation in observations])
    static = np.stack([seen.values for seen in observations])
    clock = clock_for(float(times_s[-1]))
    resampled = resample(times_s, static, clock)
    deltas = np.diff(resampled, axis=0, prepend=np.full((1, resampled.shape[1]), np.nan))
    values = np.concatenate([resampled, deltas], axis=1).astype(np.float32)
    valid = np.asarray(np.isfinite(values).all(axis=1), bool)
    values[~valid] = np.nan
    return Features(clock, values, valid)


def clock_for(duration_s: float) -> NDArray[np.float64]:
    """The schema's clock from 0 to ``duration_s``, seconds."""
    frames = int(np.floor(duration_s * AU_V1.rate_hz + 1e-6)) + 1
    return np.arange(frames) / AU_V1.rate_hz


def resample(
    times_s: NDArray[np.float64], values: NDArray[np.floating], clock: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear interpolation on ``clock`` that never bridges a gap or a missing face.

    Parameters
    ----------
    times_s : (observations,) strictly rising.
    values : (observations, channels); NaN where missing.
    clock : (frames,) times wanted, within the first and last observation.

    Returns
    -------
    (frames, channels); NaN where a neighbour is missing or too far away in time.
    """
    if len(times_s) == 1:
        return np.repeat(np.asarray(values, np.float64), len(clock), axis=0)
    interval = float(np.median(np.diff(times_s)))
    bridge = min(max(1.5 * interval, SHORTEST_BRIDGE_S), LONGEST_BRIDGE_S)
    right = np.clip(np.searchsorted(times_s, clock, side="left"), 1, len(times_s) - 1)
    left = right - 1
    gap = times_s[right] - times_s[left]
    share = np.clip((clock - times_s[left]) / gap, 0.0, 1.0)[:, None]
    # A time stamp is good to about a millisecond: on an observation, its neighbour does not matter.
    on_left, on_right = share * gap[:, None] < 1.5e-3, (1 - share) * gap[:, None] < 1.5e-3
    before, after = values[left].astype(np.float64), values[right].astype(np.float64)
    between = np.where((gap > bridge)[:, None], np.nan, before * (1 - share) + after * share)
    return np.where(on_right, after, np.where(on_left, before, between))
