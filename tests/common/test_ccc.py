"""The concordance correlation coefficient, against NumPy's covariance and Pearson's r."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from scipy import stats

from mien_common.ccc import Moments, ccc, ccc_from_moments, moments
from mien_common.errors import ShapeError

Trace = NDArray[np.float64]
Pair = tuple[Trace, Trace]

IN_RANGE = st.floats(-1, 1, allow_subnormal=False)


@st.composite
def pairs(draw: st.DrawFn, fewest: int = 2, most: int = 60) -> Pair:
    """Two traces in the ratings' range that really vary."""
    frames = draw(st.integers(fewest, most))
    x, y = (draw(st_numpy.arrays(np.float64, frames, elements=IN_RANGE)) for _ in range(2))
    assume(x.std() > 1e-2)
    assume(y.std() > 1e-2)
    return x, y


def by_covariance(x: Trace, y: Trace) -> float:
    """Lin's definition on NumPy's population covariance matrix."""
    (var_x, cov), (_, var_y) = np.cov(x, y, bias=True)
    return float(2 * cov / (var_x + var_y + (x.mean() - y.mean()) ** 2))


def by_pearson(x: Trace, y: Trace) -> float:
    """The same through Pearson's r and the two deviations."""
    r = stats.pearsonr(x, y).statistic
    return float(2 * r * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


@given(pairs())
def test_agrees_with_two_independent_formulas(pair: Pair) -> None:
    x, y = pair
    assert ccc(x, y) == pytest.approx(by_covariance(x, y), abs=1e-9)
    assert ccc(x, y) == pytest.approx(by_pearson(x, y), abs=1e-9)


@given(pairs(), st.floats(-1e6, 1e6))
def test_stays_exact_far_from_zero(pair: Pair, offset: float) -> None:
    x, y = pair[0] + offset, pair[1] + offset
    assert ccc(x, y) == pytest.approx(by_covariance(x, y), abs=1e-8)


@given(pairs(), st.data())
def test_only_frames_under_the_mask_count(pair: Pair, data: st.DataObject) -> None:
    x, y = pair
    mask = data.draw(st_numpy.arrays(np.bool_, len(x)))
    assume(mask.sum() >= 2 and x[mask].std() > 1e-2 and y[mask].std() > 1e-2)
    expected = by_covariance(x[mask], y[mask])
    spoiled = np.where(mask, x, np.nan), np.where(mask, y, np.inf)
    assert ccc(*spoiled, mask) == pytest.approx(expected, abs=1e-9)


@given(pairs(fewest=6), st.lists(st.integers(0, 60), max_size=4))
def test_pooled_pieces_are_the_whole(pair: Pair, cuts: list[int]) -> None:
    x, y = pair
    edges = [0, *sorted(min(cut, len(x)) for cut in cuts), len(x)]
    pooled = sum(
        (moments(x[start:end], y[start:end]) for start, end in pairwise(edges)),
        start=Moments(),
    )
    assert pooled.n == len(x)
    assert ccc_from_moments(pooled) == pytest.approx(by_covariance(x, y), abs=1e-9)


@given(
    pairs(fewest=6),
    st.lists(st.integers(0, 60), max_size=4),
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
)
def test_pooled_pieces_are_the_whole_on_any_scale(
    pair: Pair, cuts: list[int], level: float, spread: float
) -> None:
    x, y = level + spread * pair[0], level + spread * pair[1]
    edges = [0, *sorted(min(cut, len(x)) for cut in cuts), len(x)]
    pooled = sum(
        (moments(x[start:end], y[start:end], centre=level) for start, end in pairwise(edges)),
        start=Moments(),
    )
    assert ccc_from_moments(pooled) == pytest.approx(by_covariance(x, y), abs=1e-9)


@pytest.mark.parametrize(("level", "spread"), [(0.0, 1.0), (1e3, 1e-3), (-1e3, 1e-3), (0.9, 1e-2)])
def test_a_million_frames_at_twenty_sites_keep_nine_digits(level: float, spread: float) -> None:
    generator = np.random.default_rng(1)
    x = level + spread * np.cumsum(generator.normal(size=1_000_000)) / 1e3
    y = level + spread * generator.normal(0.2, 1.0, size=1_000_000) + 0.3 * (x - level)
    exact_x, exact_y = x.astype(np.longdouble), y.astype(np.longdouble)
    away_x, away_y = exact_x - exact_x.mean(), exact_y - exact_y.mean()
    apart = (exact_x.mean() - exact_y.mean()) ** 2
    closed_form = float(2 * (away_x * away_y).mean() / ((away_x**2).mean() + (away_y**2).mean() + apart))
    assert by_pearson(x, y) == pytest.approx(closed_form, abs=1e-9)
    assert ccc(x, y) == pytest.approx(closed_form, abs=1e-9)
    pieces = list(zip(np.array_split(x, 20), np.array_split(y, 20), strict=True))
    # About 0, as sites send them, where ratings lie in [−1, 1].
    for centre in {level, 0.0 if abs(level) <= 1 else level}:
        pooled = sum((moments(*piece, centre=centre) for piece in pieces), start=Moments())
        assert ccc_from_moments(pooled) == pytest.approx(closed_form, abs=1e-9)


@given(pairs())
def test_is_symmetric_and_bounded(pair: Pair) -> None:
    x, y = pair
    assert ccc(x, y) == pytest.approx(ccc(y, x), abs=1e-12)
    assert -1 - 1e-12 <= ccc(x, y) <= 1 + 1e-12
    assert ccc(x, x) == pytest.approx(1.0, abs=1e-12)


@given(st.floats(-1, 1), st.integers(2, 500))
def test_equal_constant_traces_have_no_ccc(value: float, frames: int) -> None:
    trace = np.full(frames, value)
    assert math.isnan(ccc(trace, trace))
    assert math.isnan(ccc_from_moments(moments(trace, trace)))


@given(pairs(), st.floats(-1, 1))
def test_a_constant_prediction_agrees_with_nothing(pair: Pair, value: float) -> None:
    x, y = np.full(len(pair[1]), value), pair[1]
    assert ccc(x, y) == pytest.approx(0.0, abs=1e-12)
    assert ccc(y, x) == pytest.approx(0.0, abs=1e-12)


def test_different_constants_agree_in_nothing() -> None:
    assert ccc(np.full(9, 0.1), np.full(9, 0.7)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("frames", [0, 1])
def test_too_few_frames_have_no_ccc(frames: int) -> None:
    assert math.isnan(ccc(np.zeros(frames), np.ones(frames)))


def test_a_mask_without_frames_has_no_ccc() -> None:
    assert math.isnan(ccc(np.full(5, np.nan), np.full(5, np.nan), np.zeros(5, bool)))


@pytest.mark.parametrize(
    ("x", "y", "mask"),
    [
        (np.zeros(3), np.zeros(4), None),
        (np.zeros(3), np.zeros(3), np.ones(2, bool)),
        (np.zeros((3, 2)), np.zeros((3, 2)), None),
        (np.float64(1.0), np.float64(1.0), None),
        (np.zeros(1), np.zeros(4), None),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x: Trace, y: Trace, mask: NDArray[np.bool_] | None) -> None:
    for function in (ccc, moments):
        with pytest.raises(ShapeError, match="traces of one length"):
            function(x, y, mask)


def test_sums_tell_ratings_that_never_change_from_those_that_do() -> None:
    moving = np.linspace(-0.5, 0.5, 100)
    assert moments(np.full(100, 0.3), moving).target_varies
    assert not moments(moving, np.full(100, 0.3, np.float32)).target_varies
    assert not Moments().target_varies
