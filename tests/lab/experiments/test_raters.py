"""What a report says beside its CCCs: how far the raters agree, and what the data were found to be like."""

import csv
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mien_lab.corpora.corpus import Corpus
from mien_lab.corpora.synthetic import make_synthetic
from mien_lab.experiments.raters import agreements, sentences
from mien_lab.experiments.results import load_outcome, save_outcome, write_report

from .made_outcomes import made_config, made_outcomes


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Three recordings of two people; the first rater of the second recording never moves for valence."""
    made = make_synthetic(3, 2, seconds=20.0)
    first, second, third, *_ = made.recordings
    ratings = second.ratings.copy()
    ratings[0, :, 0] = 0.25
    return replace(made, recordings=(first, replace(second, ratings=ratings), third))


def _ccc(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    between = (x.mean() - y.mean()) ** 2
    return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + between))


def test_a_report_says_how_far_raters_agree(corpus: Corpus, tmp_path: Path) -> None:
    config = made_config(methods=("federated",), seeds=(1,))
    outcomes = made_outcomes(config, persons=2, points=40)
    write_report(tmp_path, config, outcomes, "", final=False, raters=agreements(corpus))
    with (tmp_path / "raters.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    pairs = list(combinations(corpus.recordings[0].ratings[:, :, 1], 2))
    assert float(rows[1]["ccc"]) == pytest.approx(np.mean([_ccc(x, y) for x, y in pairs]), abs=1e-6)
    assert float(rows[1]["pearson"]) == pytest.approx(
        np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs]), abs=1e-6
    )
    undefined = rows[2]
    assert undefined["target"] == "valence"
    assert (undefined["ccc"], undefined["pearson"]) == ("", "")
    assert "the same throughout" in undefined["why_undefined"]
    summary = (tmp_path / "summary.md").read_text()
    assert "## Raters" in summary
    assert "then over 2 recordings; without one: 1" in summary


def test_recordings_with_a_gold_standard_alone_have_no_raters_to_tell_of(corpus: Corpus) -> None:
    alone = tuple(
        replace(one, raters=(), ratings=one.ratings[:0], gold=one.ratings[0]) for one in corpus.recordings
    )
    assert sentences(agreements(replace(corpus, recordings=alone))) == ()


def test_a_runs_notes_are_kept_and_told_once(tmp_path: Path) -> None:
    config = made_config(methods=("federated",), seeds=(1,))
    note = "P1: valence never changes, so that its CCC is undefined"
    outcomes = [replace(one, notes=(note,)) for one in made_outcomes(config, persons=2, points=40)]
    save_outcome(tmp_path / "run", outcomes[0])
    assert load_outcome(tmp_path / "run").notes == (note,)
    write_report(tmp_path / "report", config, outcomes, "", final=False)
    assert (tmp_path / "report" / "summary.md").read_text().count(f"{note} (2 runs).") == 1
    with (tmp_path / "report" / "runs.csv").open(newline="", encoding="utf-8") as file:
        assert {row["notes"] for row in csv.DictReader(file)} == {note}
