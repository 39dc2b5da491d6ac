"""CCC by both rules from sites' sums alone."""

import math

import numpy as np
import pytest

from mien_common.ccc import ccc, moments
from mien_common.messages import EvaluateReport, RecordingMoments
from mien_server.runs.evaluation import agreement


def report(site: str, *recordings: tuple[np.ndarray, np.ndarray]) -> EvaluateReport:
    sums = [moments(prediction, rating) for prediction, rating in recordings]
    both = tuple(RecordingMoments(valence=one, arousal=one) for one in sums)
    return EvaluateReport(site=site, round=1, recordings=both, seconds=0.0, bytes_down=0)


def test_both_rules_are_those_of_the_traces_themselves() -> None:
    generator = np.random.default_rng(5)
    pairs = [tuple(np.clip(generator.normal(scale=0.3, size=(2, n)), -1, 1)) for n in (40, 90, 30)]
    found = agreement([report("lab-1", *pairs[:2]), report("lab-2", pairs[2])])["valence"]
    assert found.mean_over_recordings == pytest.approx(np.mean([ccc(x, y) for x, y in pairs]), abs=1e-9)
    together = [np.concatenate(side) for side in zip(*pairs, strict=True)]
    assert found.pooled == pytest.approx(ccc(*together), abs=1e-9)


def test_ratings_that_never_change_have_no_ccc_and_lower_nobodys_mean() -> None:
    generator = np.random.default_rng(6)
    moving = (generator.uniform(-1, 1, 50), generator.uniform(-1, 1, 50))
    constant = (generator.uniform(-1, 1, 50), np.full(50, 0.25))
    found = agreement([report("lab-1", moving, constant)])["arousal"]
    assert found.mean_over_recordings == pytest.approx(ccc(*moving), abs=1e-9)
    alone = agreement([report("lab-1", constant)])["arousal"]
    assert math.isnan(alone.mean_over_recordings)
    assert math.isnan(alone.pooled)
