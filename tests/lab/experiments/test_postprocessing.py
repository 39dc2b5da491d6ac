"""Predictions as ratings: the average, the level, the spread and the delay, each against NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_common.ccc import ccc
from mien_lab.experiments.config import Ratings
from mien_lab.experiments.postprocessing import (
    PostProcessing,
    fit_postprocessing,
    moving_average,
    smoothing_frames,
)

NOTHING = PostProcessing(1, (0.0, 0.0), (1.0, 1.0))
Trace = NDArray[np.float32]


def traces(seed: int, frames: int = 300) -> Trace:
    return np.random.default_rng(seed).normal(0.1, 0.3, size=(frames, 2)).astype(np.float32)


def test_by_default_only_the_clock_changes() -> None:
    given = traces(1)
    found = NOTHING.apply(given, (0, 50))
    assert np.array_equal(found[:, 0], given[:, 0])
    assert np.array_equal(found[50:, 1], given[:-50, 1])
    assert set(found[:50, 1]) == {given[0, 1]}
    assert found.dtype == np.float32


@pytest.mark.parametrize("frames", [1, 3, 25, 601])
def test_the_average_is_numpys_over_what_is_valid(frames: int) -> None:
    given = traces(2, 200)
    valid = np.random.default_rng(3).random(200) > 0.4
    valid[50:100] = False
    half = frames // 2
    for index, found in enumerate(moving_average(given, frames, valid)):
        around = slice(max(index - half, 0), index + half + 1)
        known = given[around][valid[around]]
        expected = known.mean(axis=0) if len(known) and frames > 1 else given[index]
        assert found == pytest.approx(expected, abs=1e-6)


def test_rubbish_where_no_face_was_measured_reaches_no_other_frame() -> None:
    given, valid = traces(4), np.ones(300, bool)
    valid[100:110] = False
    spoilt = given.copy()
    spoilt[~valid] = np.nan
    chain = PostProcessing(25, (0.1, 0.0), (1.0, 2.0))
    before, after = (chain.apply(trace, (0, 0), valid=valid) for trace in (given, spoilt))
    assert np.array_equal(before[valid], after[valid])


def test_a_centred_average_does_not_move_a_trace_in_time() -> None:
    peak = np.zeros((101, 2), np.float32)
    peak[50] = 1.0
    found = moving_average(peak, 11)
    assert np.flatnonzero(found[:, 0]).tolist() == list(range(45, 56))


@pytest.mark.parametrize(("seconds", "frames"), [(0.0, 1), (0.02, 1), (1.0, 25), (4.0, 101), (0.12, 3)])
def test_the_average_is_over_an_odd_number_of_frames(seconds: float, frames: int) -> None:
    assert smoothing_frames(seconds, 25.0) == frames


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_level_and_spread_are_the_ratings_where_asked(centre: bool, scale: bool) -> None:
    predictions = [traces(5), traces(6)]
    targets = [0.5 * traces(7) - 0.4, 0.5 * traces(8) - 0.2]
    counts = [np.random.default_rng(9).random(300) > 0.2, np.ones(300, bool)]
    fitted = fit_postprocessing(predictions, targets, counts, Ratings(centre=centre, scale=scale), 25.0)
    found = np.concatenate(
        [fitted.apply(trace, (0, 0))[mask] for trace, mask in zip(predictions, counts, strict=True)]
    )
    x = np.concatenate([trace[mask] for trace, mask in zip(predictions, counts, strict=True)])
    y = np.concatenate([trace[mask] for trace, mask in zip(targets, counts, strict=True)])
    assert found.mean(axis=0) == pytest.approx((y if centre else x).mean(axis=0), abs=1e-5)
    assert found.std(axis=0) == pytest.approx((y if scale else x).std(axis=0), abs=1e-5)
    if centre and scale:
        assert ccc(found[:, 0], y[:, 0]) == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1], abs=1e-5)


def test_smoothing_comes_before_the_fit() -> None:
    ratings = Ratings(scale=True, smoothing_s=1.0)
    predictions, targets, counts = [traces(10)], [traces(11)], [np.ones(300, bool)]
    fitted = fit_postprocessing(predictions, targets, counts, ratings, 25.0)
    assert fitted.apply(predictions[0], (0, 0)).std(axis=0) == pytest.approx(targets[0].std(axis=0), abs=1e-5)


def test_a_constant_prediction_is_centred_and_not_blown_up() -> None:
    flat = np.full((300, 2), 0.3, np.float32)
    fitted = fit_postprocessing(
        [flat], [traces(12)], [np.ones(300, bool)], Ratings(centre=True, scale=True), 25.0
    )
    assert fitted.scale == (1.0, 1.0)
    assert fitted.apply(flat, (0, 0)).mean(axis=0) == pytest.approx(traces(12).mean(axis=0), abs=1e-5)


def test_without_a_frame_that_counts_nothing_is_fitted() -> None:
    ratings = Ratings(centre=True, scale=True)
    assert fit_postprocessing([traces(13)], [traces(14)], [np.zeros(300, bool)], ratings, 25.0) == NOTHING


def test_a_recording_without_a_window_stays_empty() -> None:
    assert NOTHING.apply(np.empty((0, 2), np.float32), (0, 0)).shape == (0, 2)


def test_the_fingerprint_tells_any_number() -> None:
    others = [
        NOTHING,
        PostProcessing(3, (0.0, 0.0), (1.0, 1.0)),
        PostProcessing(1, (0.0, 1e-9), (1.0, 1.0)),
        PostProcessing(1, (0.0, 0.0), (1.0, 1.0 + 1e-9)),
    ]
    assert len({chain.fitted for chain in others}) == 4
