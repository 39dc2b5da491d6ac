"""One trace out of several raters', against the published scripts' rule and SciPy."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import pearsonr

from mien_common.errors import RatingsError
from mien_lab.corpora.corpus import RatedRecording
from mien_lab.corpora.gold_standard import gold_standard, inter_rater, weighted_mean

from .made_releases import traces


def recording(ratings: NDArray[np.float64], gold: NDArray[np.float32] | None = None) -> RatedRecording:
    """``ratings``: (raters, frames, 2)."""
    raters, frames, _ = ratings.shape
    names = tuple(f"R{place}" for place in range(raters))
    features, valid = np.zeros((frames, 1), np.float32), np.ones(frames, bool)
    return RatedRecording(
        "P16", "P16", features, valid, names, ratings.astype(np.float32), gold, Path("P16.csv")
    )


def raters(count: int = 6, frames: int = 500) -> NDArray[np.float64]:
    return np.stack([traces(frames, count, 1).T, traces(frames, count, 2).T], axis=-1)


def lin_ccc(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Lin's coefficient from NumPy's covariance matrix."""
    (xx, xy), (_, yy) = np.cov(x, y, ddof=0)
    return float(2 * xy / (xx + yy + (x.mean() - y.mean()) ** 2))


def avec_script(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames,) as ``run_gold_standard.m`` of AVEC 2016 goes about it, step by step, for complete ratings."""
    count = len(ratings)
    pairs = list(combinations(range(count), 2))
    of_pairs = [lin_ccc(ratings[one], ratings[other]) for one, other in pairs]
    agreement = [np.mean([c for c, p in zip(of_pairs, pairs, strict=True) if r in p]) for r in range(count)]
    mean_rating = ratings.mean(axis=1)
    reference = float(np.sum(mean_rating * agreement / np.sum(agreement)))
    return np.asarray((ratings - mean_rating[:, None] + reference).mean(axis=0))


def test_the_weighted_rule_is_avecs() -> None:
    given = raters()
    found = gold_standard(recording(given), "weighted")
    expected = np.stack([avec_script(given[:, :, column]) for column in (0, 1)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_the_weighted_rule_is_rater_mean_less_file_mean_plus_weighted_mean() -> None:
    """The form in which the AVEC 2018 scripts have it."""
    given = raters()[:, :, 0]
    weights = [
        np.mean([lin_ccc(one, other) for place, other in enumerate(given) if place != own])
        for own, one in enumerate(given)
    ]
    expected = given.mean(axis=0) - given.mean() + np.average(given.mean(axis=1), weights=weights)
    np.testing.assert_allclose(weighted_mean(given), expected, atol=1e-12)


def test_the_mean_is_over_those_who_rated() -> None:
    given = raters(3)
    given[0, 100:200] = np.nan
    given[:, 300] = np.nan
    found = gold_standard(recording(given), "mean")
    np.testing.assert_allclose(found[:100], given[:, :100].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[100:200], given[1:, 100:200].mean(axis=0), atol=1e-6)
    assert np.isnan(found[300]).all()


def test_a_rater_who_drops_out_makes_less_of_a_step_in_the_weighted_trace() -> None:
    shape = np.sin(np.linspace(0, 6, 400)) * 0.3
    given = np.stack([shape, shape + 0.4, shape + 0.41])
    given[0, 200:] = np.nan
    found = weighted_mean(given)
    plain = np.nanmean(given, axis=0)
    assert abs(found[200] - found[199]) < 0.5 * abs(plain[200] - plain[199])


def test_one_rater_is_the_gold_standard() -> None:
    given = raters(1)
    np.testing.assert_allclose(gold_standard(recording(given), "weighted"), given[0], atol=1e-6)


def test_the_releases_own_is_given_as_it_is() -> None:
    gold = raters(1)[0].astype(np.float32)
    np.testing.assert_array_equal(gold_standard(recording(raters(), gold), "given"), gold)


def test_what_a_release_does_not_have_is_said() -> None:
    with pytest.raises(RatingsError, match=r"P16\.csv: recording P16 comes without a gold standard"):
        gold_standard(recording(raters()), "given")
    only_gold = replace(recording(raters()), raters=(), ratings=np.empty((0, 500, 2), np.float32))
    with pytest.raises(
        RatingsError, match=r'comes without single raters\. Set corpus\.gold_standard to "given"'
    ):
        gold_standard(only_gold, "mean")


def test_raters_who_contradict_each_other_give_no_weights() -> None:
    given = raters(2)
    given[1] = -given[0]
    with pytest.raises(RatingsError, match=r"P16\.csv: recording P16, valence: .* give no weights"):
        gold_standard(recording(given), "weighted")


def test_constant_raters_give_no_weights_and_a_plain_mean() -> None:
    given = np.zeros((2, 50, 2)) + np.array([0.1, 0.3])[:, None, None]
    with pytest.raises(RatingsError, match="give no weights"):
        gold_standard(recording(given), "weighted")
    np.testing.assert_allclose(gold_standard(recording(given), "mean"), 0.2, atol=1e-6)


def test_agreement_is_the_mean_over_pairs_as_scipy_and_numpy_have_it() -> None:
    given = raters(4)
    found = inter_rater(recording(given))
    for target, agreement in enumerate((found.valence, found.arousal)):
        pairs = list(combinations(given[:, :, target].astype(np.float32).astype(float), 2))
        assert agreement.pairs == 6
        assert agreement.ccc == pytest.approx(np.mean([lin_ccc(x, y) for x, y in pairs]), abs=1e-9)
        assert agreement.pearson == pytest.approx(
            np.mean([pearsonr(x, y).statistic for x, y in pairs]), abs=1e-9
        )
        assert agreement.reason == ""


def test_agreement_is_over_frames_that_both_rated() -> None:
    given = raters(2)
    given[0, :100, 0] = np.nan
    found = inter_rater(recording(given))
    assert found.valence.ccc == pytest.approx(lin_ccc(given[0, 100:, 0], given[1, 100:, 0]), abs=1e-6)


def test_a_constant_rater_makes_agreement_undefined_with_a_reason() -> None:
    given = raters(3)
    given[1, :, 0] = 0.25
    found = inter_rater(recording(given))
    assert np.isnan(found.valence.ccc)
    assert np.isnan(found.valence.pearson)
    assert "R1 rated valence the same throughout" in found.valence.reason
    assert np.isfinite(found.arousal.ccc)


def test_one_rater_or_two_who_never_met_have_no_agreement() -> None:
    alone = inter_rater(recording(raters(1))).valence
    assert np.isnan(alone.ccc)
    assert alone.reason == "1 rater of valence; two are needed"
    given = raters(2)
    given[0, :250], given[1, 250:] = np.nan, np.nan
    apart = inter_rater(recording(given)).arousal
    assert np.isnan(apart.pearson)
    assert apart.reason == "R0 and R1 have fewer than two frames of arousal in common"


def test_ratings_that_never_change_are_said_to_give_no_weights() -> None:
    given = raters(3)
    given[:, :, 1] = np.array([0.1, 0.2, 0.3])[:, None]
    with pytest.raises(RatingsError, match=r"P16, arousal: .* no rating ever changes, and give no weights"):
        gold_standard(recording(given), "weighted")
