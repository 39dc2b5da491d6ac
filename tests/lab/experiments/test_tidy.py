"""CSV files: what a reader computes from them is what the runs gave."""

import csv
import dataclasses
import io
import math

import numpy as np
import pytest
from scipy import stats

from mien_common.ccc import ccc
from mien_lab.experiments.scores import contenders, score_runs
from mien_lab.experiments.tidy import differences_csv, recordings_csv, rounds_csv, runs_csv

from .made_outcomes import made_config, made_outcomes

CONFIG = made_config(models=("GRU", "LSTM"), seeds=(1, 2))


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_run_has_a_row_per_target_and_rule_and_numbers_read_back_exactly() -> None:
    outcomes = made_outcomes(CONFIG, persons=3)
    rows = _rows(runs_csv(CONFIG, score_runs(CONFIG, outcomes)))
    assert len(rows) == len(outcomes) * 2 * 2
    row = next(row for row in rows if row["target"] == "arousal" and row["ccc_rule"] == "pooled")
    outcome = next(
        one
        for one in outcomes
        if (one.job.model, one.job.method, str(one.job.seed), one.job.fold)
        == (row["model"], row["method"], row["seed"], row["fold"])
    )
    one = outcome.scored[0]
    assert float(row["ccc"]) == pytest.approx(
        ccc(one.prediction[one.counts, 1], one.gold[one.counts, 1]), abs=1e-12
    )
    assert (row["kind"], row["rule"], row["personalisation"]) == ("federated", "fedavg", "none")
    assert (float(row["lag_s"]), row["chosen_round"], row["device"]) == (3.0, "12", "cpu")
    assert int(row["points"]) == one.counts.sum()


def test_a_recording_row_holds_what_scipy_says_of_its_traces() -> None:
    outcomes = made_outcomes(CONFIG, persons=2)
    rows = _rows(recordings_csv(CONFIG, score_runs(CONFIG, outcomes)))
    first = min(
        outcomes, key=lambda one: (one.job.model, CONFIG.methods[0].name != one.job.method, one.job.seed)
    )
    one, row = first.scored[0], rows[0]
    x, y = one.prediction[one.counts, 0].astype(float), one.gold[one.counts, 0].astype(float)
    assert float(row["pearson"]) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert float(row["rmse"]) == pytest.approx(math.sqrt(np.mean((x - y) ** 2)), abs=1e-12)
    assert (row["participant"], row["site"], row["target"]) == ("P1", "", "valence")


def test_what_is_undefined_is_empty_and_says_why() -> None:
    config = made_config(seeds=(1,))
    outcomes = made_outcomes(config, persons=2, constant=(0,))
    runs = score_runs(config, outcomes)
    for rows in (_rows(runs_csv(config, runs)), _rows(recordings_csv(config, runs))):
        empty = [row for row in rows if row["ccc"] == ""]
        assert {(row["fold"], row["target"]) for row in empty} == {("without-P1", "valence")}
        assert all(row["why_undefined"] == "the gold standard is constant" for row in empty)
        assert all(row["why_undefined"] == "" for row in rows if row["ccc"] != "")
        assert not any("nan" in value.lower() for row in rows for value in row.values())


def test_order_is_the_configurations_whatever_the_runs_order() -> None:
    outcomes = made_outcomes(CONFIG, persons=3)
    again = [outcomes[index] for index in np.random.default_rng(0).permutation(len(outcomes))]
    for write in (runs_csv, recordings_csv, rounds_csv):
        assert write(CONFIG, score_runs(CONFIG, outcomes)) == write(CONFIG, score_runs(CONFIG, again))


def test_curves_have_a_row_per_round_and_mark_the_chosen_one() -> None:
    outcomes = made_outcomes(CONFIG, persons=2)
    rows = _rows(rounds_csv(CONFIG, score_runs(CONFIG, outcomes)))
    assert len(rows) == len(outcomes) * 15
    assert {row["round"] for row in rows if row["chosen"] == "1"} == {"12"}
    assert float(rows[0]["loss"]) == next(
        one.rounds[0].loss for one in outcomes if one.job.model == "GRU" and one.job.fold == "without-P1"
    )


def test_differences_are_within_a_model_person_by_person() -> None:
    outcomes = made_outcomes(CONFIG, persons=3, constant=(1,))
    everyone = contenders(score_runs(CONFIG, outcomes))
    rows = _rows(differences_csv(everyone))
    assert len(rows) == 2 * 2 * 3
    for row in rows:
        if row["b_minus_a"]:
            difference = float(row["ccc_b"]) - float(row["ccc_a"])
            assert float(row["b_minus_a"]) == pytest.approx(difference, abs=1e-15)
        else:
            assert (row["participant"], row["target"]) == ("P2", "valence")


def test_names_with_commas_and_quotes_stay_in_their_cell() -> None:
    outcome = made_outcomes(CONFIG, persons=1)[0]
    name = 'a, "b"\nc;d'
    scored = dataclasses.replace(outcome.scored[0], participant=name)
    runs = score_runs(CONFIG, [dataclasses.replace(outcome, scored=(scored,))])
    assert _rows(recordings_csv(CONFIG, runs))[0]["participant"] == name
