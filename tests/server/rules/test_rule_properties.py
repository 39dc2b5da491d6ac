"""What holds for every rule, or every mean: order, scale, equal updates, memory, bad updates, resuming."""

import tracemalloc
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien_common.errors import FederationError, UpdateRejectedError
from mien_common.weights import Weights
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import Rule, SiteUpdate
from mien_server.rules.settings import USES, RuleName, RuleSettings

NAMES: tuple[RuleName, ...] = get_args(RuleName)
MEANS: tuple[RuleName, ...] = (
    *("fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "scaffold"),
)
START: Weights = {"b": np.array([0.5, -1.0], np.float32), "a": np.array([[2.0, 0.0, 1.0]], np.float32)}


def update(site: str, seed: int, frames: int = 10) -> SiteUpdate:
    generator = np.random.default_rng(seed)
    drawn: list[Weights] = [
        {name: generator.normal(0, 0.1, array.shape).astype(np.float32) for name, array in START.items()}
        for _ in range(2)
    ]
    return SiteUpdate(site, drawn[0], frames, drawn[1])


def after(rule: Rule, updates: Sequence[SiteUpdate], weights: Weights = START) -> Weights:
    rule.begin(weights, 1)
    for one in updates:
        rule.add(one)
    return rule.finish()


def fresh(name: RuleName) -> Rule:
    return rule_from(RuleSettings(name=name, byzantine_sites=1))


def assert_close(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


def assert_same(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(8)), seed=st.integers(0, 1000))
def test_the_order_of_sites_does_not_matter(name: RuleName, order: list[int], seed: int) -> None:
    updates = [update(f"lab-{site}", seed + site, 10 + site) for site in range(8)]

    assert_close(after(fresh(name), [updates[site] for site in order]), after(fresh(name), updates))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_order_gives_the_same_bits(name: RuleName) -> None:
    updates = [update(f"lab-{site}", site, 10 + site) for site in range(8)]
    assert_same(after(fresh(name), updates), after(fresh(name), updates))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_arrays_within_an_update_does_not_matter(name: RuleName) -> None:
    updates = [update(f"lab-{site}", site) for site in range(8)]
    turned = [
        SiteUpdate(one.site, dict(reversed(one.delta.items())), one.frames, one.control_delta)
        if site % 2
        else one
        for site, one in enumerate(updates)
    ]
    assert_same(after(fresh(name), turned), after(fresh(name), updates))


@given(
    seed=st.integers(0, 1000),
    frames=st.lists(st.integers(1, 10**6), min_size=1, max_size=9),
    name=st.sampled_from(["fedavg", "fedprox", "median", "trimmed-mean", "krum", "multi-krum", "bulyan"]),
)
def test_the_outcome_of_equal_updates_is_that_update(seed: int, frames: list[int], name: RuleName) -> None:
    rule = fresh(name)
    frames = (frames * rule.fewest_sites)[: max(rule.fewest_sites, len(frames))]
    same = update("any", seed)

    found = after(rule, [SiteUpdate(f"lab-{site}", same.delta, n) for site, n in enumerate(frames)])

    assert_close(found, {key: array + same.delta[key] for key, array in START.items()})


@given(
    frames=st.lists(st.integers(1, 10**6), min_size=2, max_size=6),
    scale=st.integers(2, 1000),
    name=st.sampled_from(["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"]),
)
def test_only_the_proportion_of_frames_counts(frames: list[int], scale: int, name: RuleName) -> None:
    plain = [update(f"lab-{site}", site, n) for site, n in enumerate(frames)]
    scaled = [update(f"lab-{site}", site, n * scale) for site, n in enumerate(frames)]
    assert_close(after(fresh(name), scaled), after(fresh(name), plain))


@pytest.mark.parametrize("name", ["scaffold", "median", "trimmed-mean", "krum", "multi-krum", "bulyan"])
def test_frames_count_nothing_where_sites_count_alike(name: RuleName) -> None:
    plain = [update(f"lab-{site}", site) for site in range(8)]
    claimed = [update(f"lab-{site}", site, 10 ** (site + 1)) for site in range(8)]
    assert_same(after(fresh(name), claimed), after(fresh(name), plain))


def test_a_mean_of_thousands_is_as_exact_as_double_precision() -> None:
    """Added up in single precision a thousand tenths are off by 1e-4."""
    delta: Weights = {"w": np.array([0.1], np.float32)}
    updates = [SiteUpdate(f"lab-{site}", delta, 1) for site in range(20_000)]

    found = after(fresh("fedavg"), updates, {"w": np.zeros(1, np.float32)})

    assert found["w"][0] == np.float32(0.1)


@pytest.mark.parametrize("name", MEANS)
def test_means_need_no_more_memory_for_more_sites(name: RuleName) -> None:
    weights: Weights = {"w": np.zeros(20_000, np.float32)}

    def peak(sites: int) -> int:
        rule = fresh(name)
        tracemalloc.start()
        try:
            rule.begin(weights, 1)
            for site in range(sites):
                delta: Weights = {"w": np.full(20_000, 0.1, np.float32)}
                rule.add(SiteUpdate(f"lab-{site}", delta, 1, delta))
            rule.finish()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    assert peak(200) < 1.2 * peak(4) + 20_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("delta", "reason"),
    [
        ({"b": START["b"]}, "holds the arrays"),
        ({"b": START["b"], "a": START["b"]}, r"array a .* is \[2\], expected \[1, 3\]"),
        ({"b": START["b"], "a": np.full((1, 3), np.nan, np.float32)}, "NaN or infinite"),
        ({"b": START["b"], "a": np.full((1, 3), -np.inf, np.float32)}, "NaN or infinite"),
    ],
)
def test_an_update_that_does_not_fit_is_refused(name: RuleName, delta: Weights, reason: str) -> None:
    rule = fresh(name)
    rule.begin(START, 1)
    with pytest.raises(UpdateRejectedError, match=reason):
        rule.add(SiteUpdate("lab-9", delta, 10, START))


@pytest.mark.parametrize("name", NAMES)
def test_a_round_without_updates_is_an_error(name: RuleName) -> None:
    with pytest.raises(FederationError, match="round 1"):
        after(fresh(name), [])


@pytest.mark.parametrize("name", ["fedavg", "fedadam"])
def test_updates_without_weight_have_no_mean(name: RuleName) -> None:
    with pytest.raises(UpdateRejectedError, match="no weight"):
        after(fresh(name), [update("lab-1", 1, frames=0)])


def test_fewer_than_no_frames_are_refused() -> None:
    with pytest.raises(UpdateRejectedError, match="lab-1 is of -3 frames"):
        after(fresh("fedavg"), [update("lab-1", 1, frames=-3), update("lab-2", 2, frames=5)])


@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "scaffold", "median"])
def test_weights_beyond_single_precision_are_refused_and_nothing_is_remembered(name: RuleName) -> None:
    rule = fresh(name)
    largest: Weights = {key: np.full_like(array, 3e38) for key, array in START.items()}

    with pytest.raises(UpdateRejectedError, match="NaN or infinite"):
        after(rule, [SiteUpdate(f"lab-{site}", largest, 10, largest) for site in range(3)], largest)

    # What is remembered is as before: the same rule goes on as one that never saw the round.
    updates = [update(f"lab-{site}", site) for site in range(4)]
    assert_same(after(rule, updates), after(fresh(name), updates))


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_goes_on_where_another_was_left(name: RuleName) -> None:
    rounds = [[update(f"lab-{site}", 10 * round_ + site) for site in range(8)] for round_ in range(4)]
    through, weights = fresh(name), START
    for updates in rounds:
        weights = after(through, updates, weights)

    first, halfway = fresh(name), START
    for updates in rounds[:2]:
        halfway = after(first, updates, halfway)
    second = fresh(name)
    second.restore({path: array.copy() for path, array in first.state().items()})
    for updates in rounds[2:]:
        halfway = after(second, updates, halfway)

    assert_same(halfway, weights)


def test_every_rule_says_which_numbers_it_uses() -> None:
    assert USES.keys() == set(NAMES)
    assert frozenset().union(*USES.values()) == RuleSettings.model_fields.keys() - {"name"}
