"""Robust rules: each against its paper's definition, written out here, and what Flower's do otherwise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.serverapp.strategy import Bulyan, FedAvg, FedTrimmedAvg, MultiKrum
from numpy.typing import NDArray
from scipy.stats import trim_mean

from mien_common.errors import FederationError
from mien_common.weights import Weights
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import SiteUpdate
from mien_server.rules.settings import RuleSettings

Rows = NDArray[np.float64]

START = np.array([10.0, -20.0, 5.0, 0.0])
FRAMES = (5, 1000, 30, 2, 700, 60, 1, 9, 80, 4, 3, 200, 6, 7, 8, 50)


def updates(sites: int, seed: int) -> Rows:
    """(sites, numbers)"""
    drawn: Rows = np.random.default_rng(seed).normal(0, 0.1, (sites, len(START)))
    return drawn.astype(np.float32).astype(np.float64)


def moved(rows: Rows, **settings: object) -> NDArray[np.float64]:
    """By how much the rule moves the global weights, given the sites' updates."""
    weights: Weights = {"a": START[:1].astype(np.float32), "b": START[1:].astype(np.float32)}
    rule = rule_from(RuleSettings.model_validate(settings))
    rule.begin(weights, 1)
    for site, row in enumerate(rows):
        delta: Weights = {"a": row[:1].astype(np.float32), "b": row[1:].astype(np.float32)}
        rule.add(SiteUpdate(f"lab-{site:02}", delta, FRAMES[site % len(FRAMES)]))
    new = rule.finish()
    return np.asarray(np.concatenate([new["a"], new["b"]]) - START, np.float64)


def flowers(strategy: FedAvg, rows: NDArray[Any], weights: Sequence[int]) -> NDArray[np.float64]:
    metadata = Metadata(1, "", 1, 1, "", "", 0.0, 0.0, "train")
    messages: list[Message] = [
        make_message(
            metadata,
            RecordDict(
                {"arrays": ArrayRecord({"a": Array(row)}), "metrics": MetricRecord({"num-examples": weight})}
            ),
        )
        for row, weight in zip(rows, weights, strict=True)
    ]
    record, _ = strategy.aggregate_train(1, messages)
    assert record is not None
    return np.asarray(record["a"].numpy(), np.float64)


def assert_moved(found: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    """To the precision that weights of this size have in float32."""
    np.testing.assert_allclose(found, expected, atol=2e-6)


def krum_choice(rows: Rows, hostile: int) -> int:
    """Blanchard et al. (2017): the least sum over its n − f − 2 nearest others; of several, the first."""
    everybody = range(len(rows))
    return min(everybody, key=lambda site: (krum_score(rows, hostile, everybody, site), site))


def krum_score(rows: Rows, hostile: int, among: Sequence[int], site: int) -> float:
    squares = sorted(float(((rows[site] - rows[other]) ** 2).sum()) for other in among if other != site)
    return sum(squares[: max(1, len(among) - hostile - 2)])


def bulyan_reference(rows: Rows, hostile: int) -> NDArray[np.float64]:
    """El Mhamdi et al. (2018): Krum repeatedly without replacement, then the β closest to the median.

    Of two with Krum's least sum, the one closer to all.
    """

    def order(site: int) -> tuple[float, float]:
        to_all = sum(float(((rows[site] - rows[other]) ** 2).sum()) for other in left)
        return krum_score(rows, hostile, left, site), to_all

    left, selected = list(range(len(rows))), []
    theta = len(rows) - 2 * hostile
    for _ in range(theta):
        selected.append(min(left, key=order))
        left.remove(selected[-1])
    beta, result = theta - 2 * hostile, []
    for column in rows[selected].T:
        middle = np.median(column)
        result.append(np.mean(sorted(column, key=lambda value: abs(value - middle))[:beta]))
    return np.array(result)


@pytest.mark.parametrize("sites", [3, 4, 9, 16])
def test_median(sites: int) -> None:
    """Yin et al. (2018), Definition 1: by coordinate, every site the same whatever its frames."""
    rows = updates(sites, 1)
    assert_moved(moved(rows, name="median"), np.array([np.median(column) for column in rows.T]))


@pytest.mark.parametrize(
    ("sites", "share", "left_out"), [(5, 0.2, 1), (9, 0.2, 1), (10, 0.2, 2), (16, 0.4, 6), (6, 0.0, 0)]
)
def test_trimmed_mean(sites: int, share: float, left_out: int) -> None:
    """Yin et al. (2018), Definition 2, and SciPy's."""
    rows = updates(sites, 2)
    by_hand = [np.mean(sorted(column)[left_out : sites - left_out]) for column in rows.T]

    found = moved(rows, name="trimmed-mean", trimmed_share=share)

    assert_moved(found, np.array(by_hand))
    assert_moved(found, trim_mean(rows, share, axis=0))


def test_a_share_is_not_cut_short_by_rounding() -> None:
    """0.29 · 100 is 28.999…; Flower, told 0.29, leaves out 28 and lets one of 29 hostile sites in."""
    rows = updates(100, 3)
    rows[:29] = 1000.0
    expected = np.array([np.mean(sorted(column)[29:71]) for column in rows.T])

    assert_moved(moved(rows, name="trimmed-mean", trimmed_share=0.29), expected)
    assert flowers(FedTrimmedAvg(beta=0.29), rows, [1] * 100).min() > 20


def test_a_single_value_may_be_left_by_trimming() -> None:
    rows = updates(5, 4)
    assert_moved(moved(rows, name="trimmed-mean", trimmed_share=0.49), np.median(rows, axis=0))


@pytest.mark.parametrize(("sites", "hostile"), [(3, 0), (5, 1), (7, 2), (12, 2), (16, 5)])
@pytest.mark.parametrize("seed", range(5))
def test_krum(sites: int, hostile: int, seed: int) -> None:
    rows = updates(sites, seed)
    expected = rows[krum_choice(rows, hostile)]
    assert_moved(moved(rows, name="krum", byzantine_sites=hostile), expected)


@pytest.mark.parametrize("seed", range(5))
def test_krum_tells_small_updates_apart(seed: int) -> None:
    """Flower, given whole weights in single precision, loses their differences in its squares."""
    rows = (0.01 * updates(9, seed)).astype(np.float32).astype(np.float64)
    best = krum_choice(rows, 2)
    whole = (START + rows).astype(np.float32)

    assert_moved(moved(rows, name="krum", byzantine_sites=2), rows[best])
    chosen = flowers(MultiKrum(num_malicious_nodes=2, num_nodes_to_select=1), whole, [1] * 9)
    assert not np.allclose(chosen, whole[best], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("sites", "hostile", "selected"), [(5, 1, None), (12, 2, None), (12, 2, 3), (7, 2, 1)]
)
@pytest.mark.parametrize("seed", range(5))
def test_multi_krum(sites: int, hostile: int, selected: int | None, seed: int) -> None:
    """Blanchard et al. (2017), section 4: the plain mean of the m best; n − f of them unless told."""
    rows = updates(sites, seed)
    order = sorted(range(sites), key=lambda site: krum_score(rows, hostile, range(sites), site))
    expected = rows[order[: selected or sites - hostile]].mean(axis=0)

    assert_moved(moved(rows, name="multi-krum", byzantine_sites=hostile, selected_sites=selected), expected)


def test_flowers_multi_krum_weighs_those_that_it_chose_by_what_they_claim() -> None:
    """Given the sites' frames it would; so it is given one for each."""
    rows = updates(7, 5)
    strategy = MultiKrum(num_malicious_nodes=1, num_nodes_to_select=6)
    claimed = flowers(strategy, rows, FRAMES[:7])

    assert np.abs(claimed - moved(rows, name="multi-krum", byzantine_sites=1)).max() > 0.01


@pytest.mark.parametrize(("sites", "hostile"), [(3, 0), (7, 1), (9, 1), (11, 2), (16, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_bulyan(sites: int, hostile: int, seed: int) -> None:
    rows = updates(sites, seed)
    assert_moved(moved(rows, name="bulyan", byzantine_sites=hostile), bulyan_reference(rows, hostile))


def test_flowers_bulyan_selects_all_at_once() -> None:
    """The paper takes Krum's choice away and asks again; why the selection is ours."""
    rows = np.array([[-5.0, -1], [6, 4], [-3, -4], [5, 3], [3, -6], [-6, -4], [4, 4]]).repeat(2, axis=1)

    theirs = flowers(Bulyan(num_malicious_nodes=1), rows, [1] * 7)
    ours = moved(rows, name="bulyan", byzantine_sites=1)

    assert_moved(ours, bulyan_reference(rows, 1))
    assert np.abs(ours - theirs).max() > 6


@pytest.mark.parametrize(
    ("settings", "fewest", "named"),
    [
        ({"name": "median"}, 3, "the median"),
        ({"name": "trimmed-mean", "trimmed_share": 0.2}, 5, "a share of 0.2"),
        ({"name": "trimmed-mean", "trimmed_share": 0.3}, 4, "a share of 0.3"),
        ({"name": "krum", "byzantine_sites": 2}, 7, "krum against 2 hostile sites"),
        ({"name": "multi-krum", "byzantine_sites": 1}, 5, "multi-krum against 1 hostile site"),
        ({"name": "multi-krum", "byzantine_sites": 1, "selected_sites": 6}, 7, "6 averaged"),
        ({"name": "bulyan", "byzantine_sites": 2}, 11, "bulyan against 2 hostile sites"),
    ],
)
def test_too_few_sites_are_told_and_named(settings: dict[str, object], fewest: int, named: str) -> None:
    assert rule_from(RuleSettings.model_validate(settings)).fewest_sites == fewest
    moved(updates(fewest, 6), **settings)

    with pytest.raises(
        FederationError, match=rf"round 1: .*{named}.* at least {fewest} .* there are "
    ) as told:
        moved(updates(fewest - 1, 6), **settings)
    assert ", ".join(f"lab-{site:02}" for site in range(fewest - 1)) in str(told.value)
