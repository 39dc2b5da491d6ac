"""Hostile sites: robust rules stay where the honest ones are, and FedAvg does not."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_common.weights import Weights
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import SiteUpdate
from mien_server.rules.settings import RuleSettings

Rows = NDArray[np.float64]

HONEST, HOSTILE, NUMBERS = 9, 2, 50
DIRECTION: Rows = np.random.default_rng(1).normal(0, 1, NUMBERS)

Attack = Callable[[Rows], Rows]


def honest(seed: int) -> Rows:
    """Updates that agree on a direction, more or less."""
    drawn: Rows = np.random.default_rng(seed).normal(0, 0.3, (HONEST, NUMBERS)) + DIRECTION
    return drawn


def huge(rows: Rows) -> Rows:
    return np.full((HOSTILE, rows.shape[1]), 1e30)


def huge_apart(rows: Rows) -> Rows:
    return np.outer([1.0, -0.5], np.full(rows.shape[1], 1e6))


def flipped(rows: Rows) -> Rows:
    return -20 * rows[:HOSTILE]


def two_of_a_kind(rows: Rows) -> Rows:
    """Close to each other, so that each finds one near neighbour."""
    return np.tile(rows.mean(axis=0) + 10, (HOSTILE, 1))


ATTACKS: list[Attack] = [huge, huge_apart, flipped, two_of_a_kind]

ROBUST = [
    {"name": "median"},
    {"name": "trimmed-mean", "trimmed_share": 0.2},
    {"name": "krum", "byzantine_sites": HOSTILE},
    {"name": "multi-krum", "byzantine_sites": HOSTILE},
    {"name": "bulyan", "byzantine_sites": HOSTILE},
]


def moved(rows: Rows, settings: dict[str, object], frames: list[int]) -> Rows:
    """From weights of zero; hostile sites come last and say that they have most frames."""
    rule = rule_from(RuleSettings.model_validate(settings))
    rule.begin({"w": np.zeros(NUMBERS, np.float32)}, 1)
    for site, (row, count) in enumerate(zip(rows, frames, strict=True)):
        delta: Weights = {"w": row.astype(np.float32)}
        rule.add(SiteUpdate(f"lab-{site:02}", delta, count))
    return rule.finish()["w"].astype(np.float64)


def outside(found: Rows, rows: Rows) -> float:
    """By how much the largest excess is outside of the honest sites' range in its coordinate."""
    excess = np.maximum(found - rows.max(axis=0), rows.min(axis=0) - found)
    return float(excess.max())


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("settings", ROBUST, ids=lambda settings: settings["name"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_robust_rules_stay_among_the_honest(settings: dict[str, object], attack: Attack, seed: int) -> None:
    rows = honest(seed)
    all_rows = np.vstack([rows, attack(rows)])

    found = moved(all_rows, settings, [100] * HONEST + [10**9] * HOSTILE)

    assert outside(found, rows) < 1e-6
    assert found @ DIRECTION > 0.8 * np.linalg.norm(DIRECTION) ** 2


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_fedavg_does_not(attack: Attack) -> None:
    rows = honest(1)
    all_rows = np.vstack([rows, attack(rows)])

    assert outside(moved(all_rows, {"name": "fedavg"}, [100] * (HONEST + HOSTILE)), rows) > 0.5


@pytest.mark.parametrize("settings", ROBUST, ids=lambda settings: settings["name"])
def test_no_rule_holds_out_against_a_majority(settings: dict[str, object]) -> None:
    """No promise: a check that the attack is one."""
    rows = honest(1)
    all_rows = np.vstack([rows[:5], two_of_a_kind(rows), two_of_a_kind(rows), two_of_a_kind(rows)])

    assert outside(moved(all_rows, settings, [100] * len(all_rows)), rows) > 0.5
