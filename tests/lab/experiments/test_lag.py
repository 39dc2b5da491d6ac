"""The lag that was planted is the lag that is found; where nothing tells, the smallest stands."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from mien_common.errors import SettingsError
from mien_lab.corpora.corpus import Corpus
from mien_lab.corpora.synthetic import make_synthetic, planted
from mien_lab.experiments.config import Ratings
from mien_lab.experiments.lag import LagCurve, choose_lag, lag_curve, lag_grid

TinyCorpus = Callable[..., Corpus]
GRID = Ratings(lag_s="grid")
RATE_HZ = 25.0


def gold_of(corpus: Corpus) -> list[NDArray[np.float32]]:
    return [recording.ratings.mean(axis=0) for recording in corpus.recordings]


@pytest.mark.parametrize("lag_s", [0.0, 0.8, 2.4, 4.6])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_planted_lag_is_found(tiny_corpus: TinyCorpus, lag_s: float, seed: int) -> None:
    corpus = tiny_corpus(participants=6, frames=1000, seed=seed, lag_s=lag_s, noise=0.1)
    found = choose_lag(corpus.recordings, gold_of(corpus), RATE_HZ, GRID)
    assert found == pytest.approx((lag_s, lag_s), abs=0.2 + 1e-9)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_synthetic_sets_lag_is_found_within_a_fifth_of_a_second(seed: int) -> None:
    corpus = make_synthetic(seed, 12, recordings=2)
    found = choose_lag(corpus.recordings, gold_of(corpus), RATE_HZ, GRID)
    truth = planted(seed, 12).lag_s
    assert found == pytest.approx((truth, truth), abs=0.2)


@pytest.mark.parametrize("wear_off_s", [0.5, 1.5])
def test_what_wears_off_slowly_is_not_taken_for_lag(tiny_corpus: TinyCorpus, wear_off_s: float) -> None:
    corpus = tiny_corpus(participants=8, frames=1500, lag_s=2.0)
    kept = np.exp(-1 / (RATE_HZ * wear_off_s))
    gold = [
        np.asarray(lfilter([1 - kept], [1, -kept], trace, axis=0), np.float32) for trace in gold_of(corpus)
    ]
    assert choose_lag(corpus.recordings, gold, RATE_HZ, GRID) == pytest.approx((2.0, 2.0), abs=0.2 + 1e-9)


def test_valence_and_arousal_may_lag_differently(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=6, frames=1000, lag_s=1.0)
    gold = gold_of(corpus)
    for trace in gold:
        trace[50:, 1] = trace[:-50, 1].copy()
    found = choose_lag(corpus.recordings, gold, RATE_HZ, GRID)
    assert found == pytest.approx((1.0, 3.0), abs=0.2 + 1e-9)


def test_a_single_recording_is_enough(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=1, frames=3000, lag_s=1.6)
    found = choose_lag(corpus.recordings, gold_of(corpus), RATE_HZ, GRID)
    assert found == pytest.approx((1.6, 1.6), abs=0.2 + 1e-9)


def test_more_channels_than_frames_tell_it_too(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=6, frames=800, channels=4, lag_s=1.6)
    mixing = np.random.default_rng(1).normal(size=(4, 700)).astype(np.float32)
    wide = [replace(r, features=(r.features @ mixing).astype(np.float32)) for r in corpus.recordings]
    found = choose_lag(wide, gold_of(corpus), RATE_HZ, GRID)
    assert found == pytest.approx((1.6, 1.6), abs=0.2 + 1e-9)


def test_what_is_rated_without_a_face_or_not_at_all_has_no_say(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=6, frames=1500, lag_s=1.6)
    gold = gold_of(corpus)
    before = choose_lag(corpus.recordings, gold, RATE_HZ, GRID)
    spoilt = [replace(r, features=np.where(r.valid[:, None], r.features, 1e9)) for r in corpus.recordings]
    assert choose_lag(spoilt, gold, RATE_HZ, GRID) == before
    for trace in gold:
        trace[:200] = np.nan
        trace[700:720, 1] = np.nan
    assert choose_lag(corpus.recordings, gold, RATE_HZ, GRID) == pytest.approx(before, abs=0.2 + 1e-9)


def test_a_raters_liking_for_a_person_has_no_say(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=6, frames=1000)
    gold = gold_of(corpus)
    biased = [(trace + 0.5 * (-1) ** index).astype(np.float32) for index, trace in enumerate(gold)]
    before, after = (lag_curve(corpus.recordings, traces, RATE_HZ, GRID) for traces in (gold, biased))
    assert after.ccc == pytest.approx(before.ccc, abs=1e-5)


def test_where_nothing_is_predicted_the_smallest_lag_stands(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=12, frames=2000)
    generator = np.random.default_rng(1)
    gold = [
        gaussian_filter1d(generator.normal(size=(2000, 2)), 25, axis=0).astype(np.float32)
        for _ in corpus.recordings
    ]
    curve = lag_curve(corpus.recordings, gold, RATE_HZ, GRID.model_copy(update={"lag_from_s": 0.4}))
    assert curve.best() == (0.4, 0.4)
    assert curve.undecided() == (True, True)


def test_a_target_that_never_changes_has_no_curve(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=6, frames=1000, lag_s=1.6)
    gold = gold_of(corpus)
    for trace in gold:
        trace[:, 1] = 0.25
    curve = lag_curve(corpus.recordings, gold, RATE_HZ, GRID)
    assert np.isnan(curve.ccc[:, 1]).all()
    assert curve.undecided() == (False, True)
    assert curve.best() == pytest.approx((1.6, 0.0), abs=0.2 + 1e-9)


def test_of_equal_lags_the_smallest_is_taken() -> None:
    flat = LagCurve((0.0, 0.2, 0.4), np.array([[0.3, 0.1], [0.3, 0.5], [0.3, 0.5 + 1e-9]]))
    assert flat.best() == (0.0, 0.2)


@pytest.mark.parametrize(
    ("ratings", "lags"),
    [
        (Ratings(lag_to_s=1.0, lag_step_s=0.25), (0.0, 0.25, 0.5, 0.75, 1.0)),
        (Ratings(lag_from_s=1.0, lag_to_s=1.7, lag_step_s=0.3), (1.0, 1.3, 1.6)),
    ],
)
def test_the_grid_is_as_set(ratings: Ratings, lags: tuple[float, ...]) -> None:
    assert lag_grid(ratings) == pytest.approx(lags)
    assert len(lag_grid(Ratings())) == 31
    assert lag_grid(Ratings())[-1] == 6.0


def test_recordings_shorter_than_the_grid_are_said(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=150)
    with pytest.raises(SettingsError, match=r"ratings\.lag_to_s: no training recording .* up to 6 s later"):
        choose_lag(corpus.recordings, gold_of(corpus), RATE_HZ, GRID)
