"""The raters' reaction lag, chosen by grid on training recordings.

Enters: features and gold standards of training recordings. Leaves: two numbers, valence's and arousal's lag.

A rater reacts to a face seconds after it moved (Mariooryad & Busso, 2015: 1 to 6 s). The lag chosen here is
the one at which a ridge regression from the face to the later rating best predicts recordings that it was not
fitted to. The regression stands in for the network: it costs a second, not a training per lag.

What a face did wears off slowly, in the raters' minds and in the network's state. A regression that sees one
frame would take that for lag. It is given what the face did lately, too, as exponential means over the past:
they remember, but they cannot delay, so that a lag which is too short still costs something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.scaling import fit_scaler_to
from mien_common.errors import SettingsError
from mien_lab.corpora.corpus import RatedRecording

from .config import Ratings
from .scalers import measured

Array = NDArray[np.float64]

NO_SIGNAL: Final = 0.1
"""A best CCC no higher than this tells nothing of the lag. With little data chance gives more, which does no
harm: where nothing is predicted, every lag is as good."""
_MEMORIES_S: Final = (0.7, 2.0)
"""Time constants of the exponential means."""
_WIDEST: Final = 64
"""Of more channels than these, the first principal components are taken, as many at most."""
_SMALLEST_COMPONENT: Final = 1e-3
"""Share of the first component's variance below which one is noise, or nothing."""
_GROUPS: Final = 5
"""Of recordings, each held out once; a single recording is cut into as many parts."""
_STRIDE_S: Final = 0.12
"""Faces are taken this far apart: ratings hardly change in between."""
_FEWEST_FRAMES: Final = 25
"""Of a recording, a stride apart."""
_RIDGE: Final = 1e-2
"""Penalty, as a share of the standardised channels' mean square."""
_FARTHEST: Final = 5.0
"""Standard deviations beyond which a channel's value is an outlier, and cut."""
_TIE: Final = 1e-6


@dataclass(frozen=True)
class LagCurve:
    """How well ratings are predicted from the face so long before them."""

    lags_s: tuple[float, ...]
    ccc: Array
    """(lags, 2) of valence and arousal, mean over what was held out; NaN where a target never changes."""

    def best(self) -> tuple[float, float]:
        """Valence's and arousal's lag: smallest of the best; the grid's smallest where none predicts."""
        valence, arousal = (self.lags_s[self._best(column)] for column in (0, 1))
        return valence, arousal

    def undecided(self) -> tuple[bool, bool]:
        """Of valence and arousal, whether no lag predicts it."""
        valence, arousal = (not self._highest(column) > NO_SIGNAL for column in (0, 1))
        return valence, arousal

    def _highest(self, column: int) -> float:
        return float(np.nan_to_num(self.ccc[:, column], nan=-1.0).max())

    def _best(self, column: int) -> int:
        if self.undecided()[column]:
            return 0
        return int(np.argmax(self.ccc[:, column] >= self._highest(column) - _TIE))


def choose_lag(
    recordings: Sequence[RatedRecording],
    gold: Sequence[NDArray[np.float32]],
    rate_hz: float,
    ratings: Ratings,
) -> tuple[float, float]:
    """Valence's and arousal's lag in seconds, on the grid of ``ratings``; see :func:`lag_curve`."""
    return lag_curve(recordings, gold, rate_hz, ratings).best()


def lag_curve(
    recordings: Sequence[RatedRecording],
    gold: Sequence[NDArray[np.float32]],
    rate_hz: float,
    ratings: Ratings,
) -> LagCurve:
    """CCC, at each lag of the grid, on recordings that the regression was not fitted to.

    Each recording's channels are standardised, and its ratings centred, by itself: neither a person's
    features nor the raters' bias towards a person has a say. The regression is given each channel and how far
    it is from its mean (a head turning either way is a moving head). Every lag is tried on the same faces,
    those rated from ``lag_from_s`` to ``lag_to_s`` later, so that one Gram matrix serves all lags.

    Parameters
    ----------
    recordings : training recordings only.
    gold : (frames, 2) each, on the ratings' own clock; NaN where unknown.

    Raises
    ------
    SettingsError
        No recording is long enough for the grid.
    """
    lags_s = lag_grid(ratings)
    shifts = np.array([round(lag * rate_hz) for lag in lags_s])
    pairs = [
        (recording, trace, rows)
        for recording, trace in zip(recordings, gold, strict=True)
        for rows in [_rows(recording, trace, shifts, rate_hz)]
        if len(rows) >= _FEWEST_FRAMES
    ]
    if not pairs:
        raise SettingsError(
            "ratings.lag_to_s: no training recording has faces that are rated up to "
            f"{ratings.lag_to_s:g} s later. Give a shorter one, or a fixed ratings.lag_s."
        )
    standard = _narrowed([_standardised(recording) for recording, _, _ in pairs])
    faces = [
        _centred(_remembered(face, rate_hz)[rows]) for face, (_, _, rows) in zip(standard, pairs, strict=True)
    ]
    rated = [_centred(trace[rows[:, None] + shifts].reshape(len(rows), -1)) for _, trace, rows in pairs]
    if len(pairs) == 1:
        faces, rated = np.array_split(faces[0], _GROUPS), np.array_split(rated[0], _GROUPS)
    return LagCurve(lags_s, _held_out_ccc(faces, rated).reshape(len(shifts), 2))


def lag_grid(ratings: Ratings) -> tuple[float, ...]:
    """From ``lag_from_s`` up to ``lag_to_s``, seconds."""
    steps = int((ratings.lag_to_s - ratings.lag_from_s) / ratings.lag_step_s + 1e-9)
    return tuple(round(ratings.lag_from_s + step * ratings.lag_step_s, 6) for step in range(steps + 1))


def _rows(
    recording: RatedRecording, trace: NDArray[np.float32], shifts: NDArray[np.int_], rate_hz: float
) -> NDArray[np.int_]:
    """Frames with a measured face that is rated after each of ``shifts``."""
    stride = max(round(_STRIDE_S * rate_hz), 1)
    frames = np.arange(0, max(len(trace) - int(shifts.max()), 0), stride)
    is_rated = np.asarray(np.isfinite(trace).all(axis=1))
    rated: NDArray[np.bool_] = is_rated[frames[:, None] + shifts].all(axis=1)
    return np.asarray(frames[recording.valid[frames] & rated])


def _standardised(recording: RatedRecording) -> Array:
    """(frames, channels); 0 where unknown."""
    values = measured(recording)
    standard = fit_scaler_to([values]).standardise(values)
    return np.clip(standard, -_FARTHEST, _FARTHEST).astype(np.float64)


def _narrowed(faces: list[Array]) -> list[Array]:
    """(frames, components) where there are more channels than the regression wants, else ``faces``."""
    if faces[0].shape[1] <= _WIDEST:
        return faces
    variances, directions = np.linalg.eigh(np.sum([face.T @ face for face in faces], axis=0))
    kept = directions[:, -_WIDEST:][:, variances[-_WIDEST:] > _SMALLEST_COMPONENT * variances[-1]]
    return [face @ kept for face in faces]


def _remembered(face: Array, rate_hz: float) -> Array:
    """(frames, 2 · (1 + memories) · channels): each channel, its distance from its mean, now and lately."""
    now = np.hstack([face, abs(face)])
    kept = [np.exp(-1.0 / (rate_hz * memory_s)) for memory_s in _MEMORIES_S]
    from scipy.signal import lfilter  # its import takes every worker a second

    lately = [np.asarray(lfilter([1.0 - keep], [1.0, -keep], now, axis=0)) for keep in kept]
    return np.hstack([now, *lately])


def _centred(values: NDArray[np.floating]) -> Array:
    wide = np.asarray(values, np.float64)
    return np.asarray(wide - wide.mean(axis=0))


def _held_out_ccc(faces: list[Array], rated: list[Array]) -> Array:
    """(lags · 2,) CCC of every column of ``rated``, mean over the parts, each predicted from the others."""
    grams = [face.T @ face for face in faces]
    crossed = [face.T @ trace for face, trace in zip(faces, rated, strict=True)]
    gram, cross = np.sum(grams, axis=0), np.sum(crossed, axis=0)
    diagonal = np.diag(gram)
    deviation = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    groups = min(_GROUPS, len(faces))
    scores = []
    for group in range(groups):
        held_out = range(group, len(faces), groups)
        others_gram = gram - np.sum([grams[part] for part in held_out], axis=0)
        others_cross = cross - np.sum([crossed[part] for part in held_out], axis=0)
        scaled = others_gram / np.outer(deviation, deviation) + _RIDGE * np.eye(len(gram))
        weights = np.linalg.solve(scaled, others_cross / deviation[:, None]) / deviation[:, None]
        scores += [_ccc_of_columns(faces[part] @ weights, rated[part]) for part in held_out]
    every = np.stack(scores)
    known = np.isfinite(every)
    total = np.where(known, every, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _ccc_of_columns(prediction: Array, target: Array) -> Array:
    """(columns,) CCC (Lin, 1989) of each; NaN where the target never changes."""
    away_x, away_y = _centred(prediction), _centred(target)
    between = prediction.mean(axis=0) - target.mean(axis=0)
    variance = np.square(away_y).mean(axis=0)
    spread = np.square(away_x).mean(axis=0) + variance + np.square(between)
    changes = variance > 1e-12
    covariance = (away_x * away_y).mean(axis=0)
    return np.where(changes, 2 * covariance / np.where(changes, spread, 1.0), np.nan)
