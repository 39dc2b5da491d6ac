"""How well each test recording was predicted, and what of it can be pooled.

Enters: outcomes. Leaves: CCC, Pearson's r and RMSE per recording and target, with the reason where there is
none; and per model × method the arrays over persons and seeds that statistics are made of.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien_common.ccc import Moments, ccc, moments
from mien_common.schema import TARGETS

from .config import Config
from .outcome import Outcome, Scored

Array = NDArray[np.float64]

CccRule = Literal["mean_over_recordings", "pooled"]
CCC_RULES: Final[tuple[CccRule, ...]] = ("mean_over_recordings", "pooled")
"""AVEC's rule, the mean of the recordings' CCCs; and one CCC over the frames of all recordings together."""

_CONSTANT: Final = 1e-6
"""Range of a trace below which it is constant up to float32's rounding; ratings span 2."""


@dataclass(frozen=True)
class TargetScore:
    """One target of one test recording."""

    ccc: float
    pearson: float
    """NaN as well where the prediction is constant; CCC is 0 then."""
    rmse: float
    n: int
    """Points that count: frames, or windows."""
    why_undefined: str | None
    """Why the CCC is NaN, where it is."""
    moments: Moments


@dataclass(frozen=True)
class RecordingScore:
    """One test recording."""

    scored: Scored
    targets: tuple[TargetScore, TargetScore]
    """Valence, arousal."""


@dataclass(frozen=True)
class RunScore:
    """One run."""

    outcome: Outcome
    recordings: tuple[RecordingScore, ...]


@dataclass(frozen=True)
class Contender:
    """A model trained by a method: one row of the table, over all its seeds and folds.

    A test recording stands here once per seed, or once per seed and site where each site's own model was
    tried on it.
    """

    model: str
    method: str
    runs: tuple[RunScore, ...]
    seeds: tuple[int, ...]
    persons: tuple[str, ...]
    ccc_sums: Array
    """(persons, seeds, 2 targets) sum of the person's recordings' CCCs, the undefined ones left out."""
    ccc_counts: Array
    """(persons, seeds, 2) how many those are."""
    pooled: Array
    """(persons, seeds, 2, 6) n, Σx, Σy, Σx², Σy², Σxy of the person's counted points."""

    @property
    def name(self) -> str:
        """For a legend."""
        return f"{self.model}, {self.method}"

    @property
    def person_ccc(self) -> Array:
        """(persons, 2) each person's mean CCC over recordings, then over seeds; NaN where there is none."""
        return mean_over_last(np.moveaxis(_ratio(self.ccc_sums, self.ccc_counts), 1, -1))


def score_run(outcome: Outcome) -> RunScore:
    """Every test recording of ``outcome``, scored."""
    return RunScore(outcome, tuple(_score(scored) for scored in outcome.scored))


def score_runs(config: Config, outcomes: Sequence[Outcome]) -> tuple[RunScore, ...]:
    """All runs in the order of the configuration's models and methods, then by seed and fold."""
    models = {model.name: index for index, model in enumerate(config.models)}
    methods = {method.name: index for index, method in enumerate(config.methods)}

    def place(outcome: Outcome) -> tuple[int, str, int, str, int, str]:
        job = outcome.job
        return (
            models.get(job.model, len(models)),
            job.model,
            methods.get(job.method, len(methods)),
            job.method,
            job.seed,
            job.fold,
        )

    return tuple(score_run(outcome) for outcome in sorted(outcomes, key=place))


def contenders(runs: Sequence[RunScore]) -> tuple[Contender, ...]:
    """One per model × method, in the order of ``runs``."""
    grouped: dict[tuple[str, str], list[RunScore]] = {}
    for run in runs:
        grouped.setdefault((run.outcome.job.model, run.outcome.job.method), []).append(run)
    return tuple(_contender(model, method, group) for (model, method), group in grouped.items())


def pooled_ccc(sums: Array) -> Array:
    """CCC (Lin, 1989) from sufficient statistics.

    Parameters
    ----------
    sums : (..., 6) n, Σx, Σy, Σx², Σy², Σxy.

    Returns
    -------
    (...) NaN where fewer than two points count, or y, the gold standard, is constant.
    """
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = x / n, y / n
        variance_x = np.maximum(xx / n - mean_x**2, 0.0)
        variance_y = np.maximum(yy / n - mean_y**2, 0.0)
        value = 2 * (xy / n - mean_x * mean_y) / (variance_x + variance_y + (mean_x - mean_y) ** 2)
    return np.asarray(np.where((n >= 2) & (variance_y > _CONSTANT**2), value, np.nan), np.float64)


def six_sums(sums: Moments) -> Array:
    """(6,) what :func:`pooled_ccc` takes, of a recording."""
    return np.array([sums.n, sums.x, sums.y, sums.xx, sums.yy, sums.xy])


def mean_ccc(sums: Array, counts: Array) -> Array:
    """Mean CCC from sums and counts of any shape; NaN where nothing counts."""
    return _ratio(sums, counts)


def mean_over_last(values: Array) -> Array:
    """(..., k) → (...): mean over what is not NaN; NaN where all is."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def groups_of_recordings(runs: Sequence[RunScore]) -> Mapping[str, str]:
    """Recording → the site it is at, or the participant where some recording is at none or tried by several.

    One answer for all runs, so that the worst group of one method is comparable with that of another: a model
    that all share names no site, and without these people at a site a person stands for a site.
    """
    sites: dict[str, set[str]] = {}
    people: dict[str, str] = {}
    for run in runs:
        for one in run.outcome.scored:
            people[one.recording] = one.participant
            sites.setdefault(one.recording, set()).update([one.site] if one.site is not None else [])
    if all(len(names) == 1 for names in sites.values()):
        return {recording: next(iter(names)) for recording, names in sites.items()}
    return people


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key to sort by that puts P2 before P10."""
    pieces: list[tuple[int, int, str]] = []
    for piece in re.findall(r"[0-9]{1,18}|[^0-9]+", name):
        number = piece.isascii() and piece.isdigit()
        pieces.append((0, int(piece), "") if number else (1, 0, piece))
    return (*pieces, (2, 0, name))


def _score(scored: Scored) -> RecordingScore:
    valence, arousal = (_score_target(scored, column) for column in range(len(TARGETS)))
    unexplained = valence.why_undefined is None and arousal.why_undefined is None
    if scored.why_undefined is not None and unexplained:
        # The run itself says that this recording has no CCC, for a reason that the traces do not show.
        valence, arousal = (
            TargetScore(np.nan, np.nan, one.rmse, one.n, scored.why_undefined, one.moments)
            for one in (valence, arousal)
        )
    return RecordingScore(scored, (valence, arousal))


def _score_target(scored: Scored, column: int) -> TargetScore:
    x = scored.prediction[scored.counts, column].astype(np.float64)
    y = scored.gold[scored.counts, column].astype(np.float64)
    sums = moments(x, y)
    rmse = float(np.sqrt(np.mean((x - y) ** 2))) if x.size else np.nan
    why = _why_undefined(x, y)
    if why is not None:
        return TargetScore(np.nan, np.nan, rmse, x.size, why, sums)
    return TargetScore(ccc(x, y), _pearson(x, y), rmse, x.size, None, sums)


def _why_undefined(x: Array, y: Array) -> str | None:
    if x.size < 2:
        return f"{x.size} points count; a CCC needs 2"
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return "a prediction or a rating that counts is not a finite number"
    if np.ptp(y) <= _CONSTANT:
        return "the gold standard is constant"
    return None


def _pearson(x: Array, y: Array) -> float:
    if np.ptp(x) <= _CONSTANT:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _contender(model: str, method: str, runs: Sequence[RunScore]) -> Contender:
    seeds = tuple(sorted({run.outcome.job.seed for run in runs}))
    persons = tuple(sorted({one.scored.participant for run in runs for one in run.recordings}, key=natural))
    shape = (len(persons), len(seeds), len(TARGETS))
    sums, counts, pooled = np.zeros(shape), np.zeros(shape), np.zeros((*shape, 6))
    for run in runs:
        seed = seeds.index(run.outcome.job.seed)
        for one in run.recordings:
            person = persons.index(one.scored.participant)
            for column, score in enumerate(one.targets):
                if np.isfinite(score.ccc):
                    sums[person, seed, column] += score.ccc
                    counts[person, seed, column] += 1
                pooled[person, seed, column] += six_sums(score.moments)
    return Contender(model, method, tuple(runs), seeds, persons, sums, counts, pooled)


def _ratio(numerator: Array, denominator: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan), np.float64)
