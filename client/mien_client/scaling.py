"""Standardisation: each channel with a site's own training statistics, which never leave it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import SessionError

from .features import MODEL_CHANNELS, Features

SMALLEST_DEVIATION = 1e-4
"""A channel that hardly varies at a site carries nothing there and is not blown up to unit variance."""


@dataclass(frozen=True)
class Scaler:
    """Per-channel standardisation with a site's own training statistics."""

    mean: NDArray[np.float32]
    """(channels,)"""
    deviation: NDArray[np.float32]
    """(channels,) standard deviation; 1 where a channel hardly varies."""

    def apply(self, features: Features) -> NDArray[np.float32]:
        """(frames, 40) standardised ``au-v1`` features; 0 also in the channels the model is not given."""
        return np.where(MODEL_CHANNELS, self.standardise(features.values), np.float32(0.0))

    def standardise(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(frames, channels) standardised; 0, the channel's mean, where a channel is missing.

        The recurrence needs some number there; the mask keeps frames that are not valid out of loss
        and metric.
        """
        scaled = (values - self.mean) / self.deviation
        return np.where(np.isfinite(values), scaled, np.float32(0.0)).astype(np.float32)


def fit_scaler(recordings: Sequence[Features]) -> Scaler:
    """Mean and standard deviation of each channel over the frames of ``recordings`` in which it is known.

    A frame that misses one channel still tells of the others. A channel that is never known is never
    given to the network either; its mean is 0.

    Raises
    ------
    SessionError
        No frame is valid.
    """
    if not any(features.valid.any() for features in recordings):
        raise SessionError(
            "no training session of this site holds a frame with a face. Ingest another video."
        )
    return fit_scaler_to([features.values for features in recordings])


def fit_scaler_to(recordings: Sequence[NDArray[np.float32]]) -> Scaler:
    """The same from (frames, channels) values of any schema; NaN where a channel is missing."""
    known = [np.isfinite(values) for values in recordings]
    frames = np.maximum(np.sum([mask.sum(axis=0) for mask in known], axis=0), 1)

    def mean_of(function: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> NDArray[np.float64]:
        sums = [
            function(values).sum(axis=0, where=mask, dtype=np.float64)
            for values, mask in zip(recordings, known, strict=True)
        ]
        return np.asarray(np.sum(sums, axis=0) / frames)

    mean = mean_of(lambda values: values)
    deviation = np.sqrt(mean_of(lambda values: np.square(values - mean)))
    return Scaler(
        mean.astype(np.float32),
        np.where(deviation < SMALLEST_DEVIATION, 1.0, deviation).astype(np.float32),
    )
