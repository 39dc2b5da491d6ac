"""The table of a comparison while it grows: means only; intervals and tests are the report's.

Enters: scored runs. Leaves: a row per model × method of the configuration, those without a run too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .config import Config
from .outcome import Job
from .scores import RunScore, contenders, mean_ccc, mean_over_last, pooled_ccc


@dataclass(frozen=True)
class Row:
    """What is known of a model trained by a method."""

    model: str
    method: str
    done: int
    """Runs."""
    runs: int
    """That there will be."""
    mean_over_recordings: tuple[float, float]
    """CCC of valence and arousal by AVEC's rule, mean over seeds; NaN while nothing is known."""
    pooled: tuple[float, float]
    """The same over the frames of all recordings together."""


def table_so_far(config: Config, every: Sequence[Job], scores: Mapping[Job, RunScore]) -> tuple[Row, ...]:
    """Rows in the configuration's order."""
    rows = []
    for model in config.models:
        for method in config.methods:
            jobs = [job for job in every if (job.model, job.method) == (model.name, method.name)]
            runs = [scores[job] for job in jobs if job in scores]
            mean, pooled = _ccc(runs)
            rows.append(Row(model.name, method.name, len(runs), len(jobs), mean, pooled))
    return tuple(rows)


def _ccc(runs: Sequence[RunScore]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both rules' CCC of valence and arousal over people, then over seeds."""
    nothing = (float("nan"), float("nan"))
    if not runs:
        return nothing, nothing
    (one,) = contenders(runs)
    by_seed = mean_ccc(one.ccc_sums.sum(axis=0), one.ccc_counts.sum(axis=0))
    pooled = pooled_ccc(one.pooled.sum(axis=0))
    (valence, arousal), (valence_pooled, arousal_pooled) = (
        tuple(float(value) for value in mean_over_last(np.asarray(found.T))) for found in (by_seed, pooled)
    )
    return (valence, arousal), (valence_pooled, arousal_pooled)
