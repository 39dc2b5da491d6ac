"""One trace out of several raters', and how far the raters agree.

Enters: a :class:`~mien_lab.corpora.corpus.RatedRecording`. Leaves: its gold standard, and the inter-rater CCC
and Pearson correlation. Everything is of one recording: nothing of a test person gets into another's targets.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien_common.ccc import ccc
from mien_common.errors import RatingsError
from mien_common.schema import TARGETS

from .corpus import RatedRecording

How = Literal["given", "mean", "weighted"]
Trace = NDArray[np.float64]


@dataclass(frozen=True)
class TargetAgreement:
    """How far the raters of one recording agree on one target."""

    ccc: float
    """Mean concordance correlation coefficient over pairs of raters; NaN where undefined."""
    pearson: float
    """Mean Pearson correlation over the same pairs; NaN where undefined."""
    pairs: int
    reason: str = ""
    """Why the figures are NaN; empty where they are numbers."""


@dataclass(frozen=True)
class Agreement:
    """How far the raters of one recording agree."""

    valence: TargetAgreement
    arousal: TargetAgreement


def gold_standard(recording: RatedRecording, how: How) -> NDArray[np.float32]:
    """What the recording's frames are taken to be rated.

    ``mean``: in each frame, the mean of those raters who rated it. ``weighted``: AVEC's rule, see
    :func:`weighted_mean`. ``given``: the release's own.

    Returns
    -------
    (frames, 2) float32, valence and arousal; NaN where nobody rated.

    Raises
    ------
    RatingsError
        The recording has no raters, or no given gold standard, or its raters' weights say nothing.
    """
    if how == "given":
        if recording.gold is None:
            raise RatingsError(
                f"{recording.source}: recording {recording.name} comes without a gold standard. "
                'Set corpus.gold_standard to "mean" or "weighted".'
            )
        return recording.gold
    if not recording.raters:
        raise RatingsError(
            f"{recording.source}: recording {recording.name} comes without single raters. "
            'Set corpus.gold_standard to "given".'
        )
    traces = recording.ratings.astype(np.float64)
    if how == "mean":
        return _mean_over_raters(traces).astype(np.float32)
    columns = []
    for column, target in enumerate(TARGETS):
        try:
            columns.append(weighted_mean(traces[:, :, column]))
        except RatingsError as error:
            where = f"{recording.source}: recording {recording.name}, {target}"
            raise RatingsError(f"{where}: {error}") from error
    return np.stack(columns, axis=1).astype(np.float32)


def weighted_mean(ratings: Trace) -> Trace:
    """AVEC's gold standard: the raters' traces, each about its own mean, around a weighted mean of the means.

    With y_r(t) the rating of rater r, m_r its mean over the file, and w_r the mean CCC of r with every
    other rater in the file::

        gold(t) = mean_r(y_r(t) − m_r) + Σ_r w_r m_r / Σ_r w_r

    where every rater rated every frame this is "rater mean − file mean + weighted mean". Ringeval et al.,
    AVEC 2018, as in its baseline scripts (``GSCreation.py``; AVEC 2016's ``run_gold_standard.m``,
    github.com/AudioVisualEmotionChallenge/AVEC2018). Frames that a rater left out are left out of its mean
    and its CCCs; as each is about its own mean, one who drops out makes a smaller step than in a plain mean.

    Parameters
    ----------
    ratings : (raters, frames); NaN where one is missing.

    Returns
    -------
    (frames,) NaN where nobody rated.

    Raises
    ------
    RatingsError
        The weights have no positive sum, or draw the trace's mean out of [−1, 1]: raters who contradict
        each other, or constant ones.
    """
    known = np.isfinite(ratings)
    means = _mean_over_frames(ratings, known)
    if len(ratings) == 1:
        return np.asarray(ratings[0])
    weights = _weights(ratings, known)
    total = weights.sum()
    centre = float((weights * means).sum() / total) if total > 0 else np.nan
    if not -1.0 <= centre <= 1.0:
        constant = all(np.ptp(trace[kept]) == 0 for trace, kept in zip(ratings, known, strict=True))
        why = "are undefined, as no rating ever changes, and" if constant else f"(mean {weights.mean():.3f})"
        raise RatingsError(
            f'the raters\' CCCs with each other {why} give no weights. Set corpus.gold_standard to "mean".'
        )
    return _mean_over_raters(ratings - means[:, None]) + centre


def inter_rater(recording: RatedRecording) -> Agreement:
    """Mean CCC and Pearson correlation over all pairs of raters.

    NaN with a reason where there are fewer than two raters, a rater is constant, or two have fewer than
    two frames in common.
    """
    valence, arousal = (_agreement(recording, column) for column in range(len(TARGETS)))
    return Agreement(valence, arousal)


def _agreement(recording: RatedRecording, column: int) -> TargetAgreement:
    traces = recording.ratings[:, :, column].astype(np.float64)
    raters, target = recording.raters, TARGETS[column]
    pairs = list(combinations(range(len(raters)), 2))
    if not pairs:
        return TargetAgreement(np.nan, np.nan, 0, f"{len(raters)} rater of {target}; two are needed")
    concordances, correlations = [], []
    for one, other in pairs:
        both = np.isfinite(traces[one]) & np.isfinite(traces[other])
        names = f"{raters[one]} and {raters[other]}"
        if both.sum() < 2:
            reason = f"{names} have fewer than two frames of {target} in common"
            return TargetAgreement(np.nan, np.nan, len(pairs), reason)
        x, y = traces[one][both], traces[other][both]
        for trace, rater in ((x, raters[one]), (y, raters[other])):
            if np.ptp(trace) == 0:
                reason = f"{rater} rated {target} the same throughout (with {names})"
                return TargetAgreement(np.nan, np.nan, len(pairs), reason)
        concordances.append(ccc(x, y))
        correlations.append(float(np.corrcoef(x, y)[0, 1]))
    return TargetAgreement(float(np.mean(concordances)), float(np.mean(correlations)), len(pairs))


def _weights(ratings: Trace, known: NDArray[np.bool_]) -> Trace:
    """(raters,) mean CCC of each with every other; pairs without a CCC left out, 0 where none has one."""
    table = np.full((len(ratings), len(ratings)), np.nan)
    for one, other in combinations(range(len(ratings)), 2):
        both = known[one] & known[other]
        table[one, other] = table[other, one] = ccc(
            np.where(both, ratings[one], 0.0), np.where(both, ratings[other], 0.0), both
        )
    defined = np.isfinite(table)
    counts: Trace = np.maximum(defined.sum(axis=1), 1).astype(np.float64)
    return np.asarray(np.where(defined, table, 0.0).sum(axis=1) / counts)


def _mean_over_frames(ratings: Trace, known: NDArray[np.bool_]) -> Trace:
    return np.asarray(np.where(known, ratings, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def _mean_over_raters(ratings: Trace) -> Trace:
    """Mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(ratings)
    counts = known.sum(axis=0)
    sums = np.where(known, ratings, 0.0).sum(axis=0)
    mean: Trace = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return mean
