"""The best round is kept, and waiting for a better one ends."""

import math

import numpy as np
import pytest

from mien_client.early_stopping import EarlyStopping
from mien_common.weights import Weights


def weights(number: float) -> Weights:
    return {"head.bias": np.full(2, number, np.float32)}


def watched(patience: int | None, scores: list[float]) -> tuple[EarlyStopping, int | None]:
    """What is remembered after ``scores`` of rounds 1, 2, …, and the round it stopped after."""
    stopping = EarlyStopping(patience)
    for round_, score in enumerate(scores, start=1):
        if stopping.observe(round_, score, weights(round_)):
            return stopping, round_
    return stopping, None


@pytest.mark.parametrize(
    ("patience", "scores", "stopped", "best"),
    [
        (2, [0.1, 0.3, 0.2, 0.25, 0.9], 4, 2),
        (3, [0.1, 0.3, 0.2, 0.25, 0.9], None, 5),
        (1, [0.1, 0.1], 2, 1),
        (None, [0.5, 0.4, 0.3, 0.2, 0.1], None, 1),
        (2, [math.nan, 0.2, math.nan, math.nan], 4, 2),
        (2, [-0.5, -0.6, -0.4], None, 3),
    ],
)
def test_it_waits_as_long_as_it_was_told(
    patience: int | None, scores: list[float], stopped: int | None, best: int
) -> None:
    stopping, round_ = watched(patience, scores)
    assert round_ == stopped
    assert stopping.best_round == best
    assert stopping.best_score == scores[best - 1]
    assert stopping.best_weights is not None
    assert np.array_equal(stopping.best_weights["head.bias"], weights(best)["head.bias"])


def test_a_score_that_does_not_exist_is_never_the_best() -> None:
    stopping, round_ = watched(3, [math.nan] * 3)
    assert round_ == 3
    assert stopping.best_round is None
    assert stopping.best_weights is None
    assert math.isnan(stopping.best_score)


def test_training_on_does_not_touch_the_weights_that_were_kept() -> None:
    stopping, given = EarlyStopping(None), weights(1.0)
    stopping.observe(1, 0.5, given)
    given["head.bias"] += 1
    assert stopping.best_weights is not None
    assert np.array_equal(stopping.best_weights["head.bias"], weights(1.0)["head.bias"])
