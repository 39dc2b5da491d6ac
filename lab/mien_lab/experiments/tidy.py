"""Results as CSV files that open in pandas, R and a spreadsheet: one row per thing, one name per column.

Enters: scored runs, summaries and tests. Leaves: the content of ``runs.csv``, ``recordings.csv``,
``rounds.csv``, ``differences.csv``, ``raters.csv``, ``table.csv`` and ``tests.csv``. What is not known is an
empty cell, with the reason in a column of its own; numbers have all their digits; rows are in one order
however the runs were made. ``docs/results.md`` tells every column.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from mien_common.schema import TARGETS

from .config import Config, Method
from .outcome import Outcome
from .paired_tests import PairedTest
from .raters import RatedAgreement
from .scores import CCC_RULES, Contender, RunScore, mean_over_last, pooled_ccc, six_sums
from .statistics import Summary

Cell = str | int | float | None

_RUN: Final = ("model", "method", "kind", "rule", "personalisation", "seed", "fold")
RUN_COLUMNS: Final = (
    *_RUN,
    "target",
    "ccc_rule",
    "ccc",
    "why_undefined",
    "recordings",
    "recordings_undefined",
    "points",
    "frames_trained",
    "chosen_round",
    "seconds",
    "device",
    "lag_s",
    "lag_lowest_s",
    "lag_highest_s",
    "fitted",
    "notes",
)
RECORDING_COLUMNS: Final = (
    *_RUN,
    "recording",
    "participant",
    "site",
    "target",
    "ccc",
    "pearson",
    "rmse",
    "n",
    "why_undefined",
)
ROUND_COLUMNS: Final = (
    *_RUN,
    "round",
    "chosen",
    "loss",
    "validation_ccc_valence",
    "validation_ccc_arousal",
    "seconds",
)
DIFFERENCE_COLUMNS: Final = (
    "model",
    "method_a",
    "method_b",
    "target",
    "participant",
    "ccc_a",
    "ccc_b",
    "b_minus_a",
)
RATER_COLUMNS: Final = ("recording", "participant", "target", "raters", "ccc", "pearson", "why_undefined")
TABLE_COLUMNS: Final = (
    "model",
    "method",
    "target",
    "ccc_rule",
    "ccc_mean",
    "ccc_sd_over_seeds",
    "seeds",
    "interval_low",
    "interval_high",
    "why_no_interval",
    "participants",
    "participants_undefined",
    "worst_site_ccc",
    "worst_site",
)
TEST_COLUMNS: Final = (
    "target",
    "model_a",
    "method_a",
    "model_b",
    "method_b",
    "participants",
    "mean_b_minus_a",
    "gain",
    "lose",
    "rank_biserial",
    "p_sign_flips",
    "p_sign_flips_holm",
    "p_wilcoxon",
    "p_wilcoxon_holm",
    "why_undefined",
)


def runs_csv(config: Config, runs: Sequence[RunScore]) -> str:
    """One row per run, target and rule of CCC."""
    return _csv(
        RUN_COLUMNS,
        (
            (
                *_run(config, run.outcome),
                target,
                rule,
                *_ccc(run, rule, column),
                *_counts(run, column),
                run.outcome.frames,
                run.outcome.chosen_round,
                run.outcome.seconds,
                run.outcome.device,
                *_lag(run.outcome, column),
                run.outcome.fitted,
                "; ".join(run.outcome.notes),
            )
            for run in runs
            for column, target in enumerate(TARGETS)
            for rule in CCC_RULES
        ),
    )


def recordings_csv(config: Config, runs: Sequence[RunScore]) -> str:
    """One row per run, test recording and target."""
    return _csv(
        RECORDING_COLUMNS,
        (
            (
                *_run(config, run.outcome),
                one.scored.recording,
                one.scored.participant,
                one.scored.site,
                target,
                score.ccc,
                score.pearson,
                score.rmse,
                score.n,
                score.why_undefined,
            )
            for run in runs
            for one in run.recordings
            for target, score in zip(TARGETS, one.targets, strict=True)
        ),
    )


def rounds_csv(config: Config, runs: Sequence[RunScore]) -> str:
    """One row per run and round: its learning curve."""
    return _csv(
        ROUND_COLUMNS,
        (
            (
                *_run(config, run.outcome),
                point.round,
                int(point.round == run.outcome.chosen_round),
                point.loss,
                *point.validation,
                point.seconds,
            )
            for run in runs
            for point in run.outcome.rounds
        ),
    )


def differences_csv(everyone: Sequence[Contender]) -> str:
    """One row per pair of a model's methods, target and person tested under both: who gains and who loses."""
    return _csv(
        DIFFERENCE_COLUMNS,
        (
            row
            for index, a in enumerate(everyone)
            for b in everyone[index + 1 :]
            if a.model == b.model
            for row in _differences(a, b)
        ),
    )


def raters_csv(every: Sequence[RatedAgreement]) -> str:
    """One row per recording and target: how far its raters agree."""
    return _csv(
        RATER_COLUMNS,
        (
            (one.recording, one.participant, target, one.raters, of.ccc, of.pearson, of.reason or None)
            for one in every
            for target, of in zip(TARGETS, (one.agreement.valence, one.agreement.arousal), strict=True)
        ),
    )


def table_csv(summaries: Sequence[Summary]) -> str:
    """The numbers of the table: one row per model × method, target and rule of CCC."""
    return _csv(
        TABLE_COLUMNS,
        (
            (
                one.contender.model,
                one.contender.method,
                target,
                rule,
                found.mean,
                found.sd,
                found.seeds,
                found.interval.low,
                found.interval.high,
                found.interval.why_undefined,
                one.persons,
                one.undefined[column],
                one.worst[target].ccc,
                one.worst[target].group,
            )
            for one in summaries
            for column, target in enumerate(TARGETS)
            for rule in CCC_RULES
            for found in [one.estimates[rule, target]]
        ),
    )


def paired_csv(tests: Sequence[PairedTest]) -> str:
    """One row per pair of contenders and target."""
    return _csv(
        TEST_COLUMNS,
        (
            (
                test.target,
                test.a.model,
                test.a.method,
                test.b.model,
                test.b.method,
                test.pairs,
                test.difference,
                test.gain,
                test.lose,
                test.rank_biserial,
                test.p_permutation,
                test.adjusted_permutation,
                test.p_wilcoxon,
                test.adjusted_wilcoxon,
                test.why_undefined,
            )
            for test in tests
        ),
    )


def _differences(a: Contender, b: Contender) -> Iterable[tuple[Cell, ...]]:
    of_a = dict(zip(a.persons, a.person_ccc, strict=True))
    of_b = dict(zip(b.persons, b.person_ccc, strict=True))
    for column, target in enumerate(TARGETS):
        for person in a.persons:
            if person in of_b:
                one, other = float(of_a[person][column]), float(of_b[person][column])
                yield a.model, a.method, b.method, target, person, one, other, other - one


def _run(config: Config, outcome: Outcome) -> tuple[Cell, ...]:
    method = _method(config, outcome.job.method)
    return (
        outcome.job.model,
        outcome.job.method,
        method.kind if method is not None else None,
        outcome.rule,
        method.personalisation if method is not None else None,
        outcome.job.seed,
        outcome.job.fold,
    )


def _method(config: Config, name: str) -> Method | None:
    return next((method for method in config.methods if method.name == name), None)


def _ccc(run: RunScore, rule: str, column: int) -> tuple[float, str | None]:
    scores = [one.targets[column] for one in run.recordings]
    if rule == "pooled":
        sums = np.array([six_sums(score.moments) for score in scores]).reshape(-1, 6).sum(axis=0)
        value = float(pooled_ccc(sums))
    else:
        value = float(mean_over_last(np.array([score.ccc for score in scores], np.float64)))
    if math.isfinite(value):
        return value, None
    reasons = dict.fromkeys(score.why_undefined for score in scores if score.why_undefined is not None)
    return value, "; ".join(reasons) or "no recording was tested"


def _counts(run: RunScore, column: int) -> tuple[int, int, int]:
    scores = [one.targets[column] for one in run.recordings]
    undefined = sum(score.why_undefined is not None for score in scores)
    return len(scores), undefined, sum(score.n for score in scores)


def _lag(outcome: Outcome, column: int) -> tuple[float | None, float | None, float | None]:
    lags = [pair[column] for pair in outcome.lag_s.values()]
    if not lags:
        return None, None, None
    return float(np.median(lags)), min(lags), max(lags)


def _csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # repr is the shortest text that reads back as the same number; "inf" is read by pandas and R alike.
        return "" if math.isnan(value) else repr(float(value))
    return str(value)
