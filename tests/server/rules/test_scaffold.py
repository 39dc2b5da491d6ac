"""SCAFFOLD, server and sites together, against the paper's Algorithm 1 written out here."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.scaffold import SiteControl
from mien_common.errors import FederationError, SettingsError, UpdateRejectedError
from mien_common.messages import TrainingSettings
from mien_common.weights import Weights
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import SiteUpdate
from mien_server.rules.settings import RuleSettings

Vector = NDArray[np.float64]

SETTINGS = RuleSettings(name="scaffold")
STEPS, RATE = 5, 0.1
BEST: Vector = np.array([[1.0, 0.0], [-1.0, 2.0], [0.0, 4.0]])
"""Where each site's own quadratic is least; they differ much."""
CURVATURE: Vector = np.array([[1.0, 3.0], [4.0, 0.5], [0.5, 1.0]])
OPTIMUM: Vector = (CURVATURE * BEST).sum(axis=0) / CURVATURE.sum(axis=0)


def gradient(site: int, at: Vector) -> Vector:
    found: Vector = CURVATURE[site] * (at - BEST[site])
    return found


def run(rounds: int, asked: list[list[int]] | None = None, rate: float = 1.0) -> Vector:
    """By our rule and our sites' side, each site taking plain SGD steps."""
    settings = SETTINGS.model_copy(update={"server_learning_rate": rate})
    rule = rule_from(settings, sites=len(BEST))
    weights: Weights = {"w": np.zeros(2, np.float32)}
    controls = [SiteControl.zero(weights) for _ in BEST]
    for round_ in range(rounds):
        rule.begin(weights, round_ + 1)
        server = rule.control
        assert server is not None
        for site in asked[round_] if asked else range(len(BEST)):
            correction = controls[site].correction(server)["w"].astype(np.float64)
            y = weights["w"].astype(np.float64)
            for _ in range(STEPS):
                y = y - RATE * (gradient(site, y) + correction)
            delta: Weights = {"w": (y - weights["w"]).astype(np.float32)}
            controls[site], change = controls[site].after(server, delta, STEPS, RATE)
            rule.add(SiteUpdate(f"lab-{site}", delta, 10**site, change))
        weights = rule.finish()
    return weights["w"].astype(np.float64)


def algorithm_1(rounds: int, asked: list[list[int]] | None = None, rate: float = 1.0) -> Vector:
    """Karimireddy et al. (2020), Algorithm 1, option II, line by line."""
    x, c, own = np.zeros(2), np.zeros(2), np.zeros_like(BEST)
    for round_ in range(rounds):
        sampled = asked[round_] if asked else list(range(len(BEST)))
        delta_y, delta_c = np.zeros(2), np.zeros(2)
        for i in sampled:
            y = x
            for _ in range(STEPS):
                y = y - RATE * (gradient(i, y) - own[i] + c)
            own_plus = own[i] - c + (x - y) / (STEPS * RATE)
            delta_y, delta_c = delta_y + (y - x) / len(sampled), delta_c + (own_plus - own[i]) / len(sampled)
            own[i] = own_plus
        x, c = x + rate * delta_y, c + len(sampled) / len(BEST) * delta_c
    return x


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_all_sites(rate: float) -> None:
    np.testing.assert_allclose(run(6, rate=rate), algorithm_1(6, rate=rate), atol=1e-5)


def test_some_of_the_sites() -> None:
    asked = [[0, 1], [2], [1, 2], [0], [0, 1, 2], [1]]
    np.testing.assert_allclose(run(6, asked), algorithm_1(6, asked), atol=1e-5)


def test_it_finds_the_optimum_that_fedavg_misses() -> None:
    """What the paper is about: local steps drift apart, and their mean settles elsewhere."""
    rule, weights = rule_from(RuleSettings(weighting="sites")), {"w": np.zeros(2, np.float32)}
    for round_ in range(60):
        rule.begin(weights, round_)
        for site in range(len(BEST)):
            y = weights["w"].astype(np.float64)
            for _ in range(STEPS):
                y = y - RATE * gradient(site, y)
            rule.add(SiteUpdate(f"lab-{site}", {"w": (y - weights["w"]).astype(np.float32)}, 1))
        weights = rule.finish()

    assert np.abs(run(60) - OPTIMUM).max() < 1e-4
    assert np.abs(weights["w"] - OPTIMUM).max() > 0.1


def test_its_control_variate_is_kept_and_given_back() -> None:
    rule, weights = rule_from(SETTINGS), {"w": np.zeros(2, np.float32)}
    rule.begin(weights, 1)
    rule.add(SiteUpdate("lab-1", {"w": np.ones(2, np.float32)}, 1, {"w": np.full(2, 0.5, np.float32)}))
    rule.finish()

    other = rule_from(SETTINGS)
    other.restore(rule.state())

    assert other.control is not None
    np.testing.assert_array_equal(other.control["w"], [0.5, 0.5])


@pytest.mark.parametrize(
    "training", [TrainingSettings(optimiser="adam"), TrainingSettings(optimiser="sgd", momentum=0.9)]
)
def test_sites_that_do_not_train_by_plain_sgd_are_refused(training: TrainingSettings) -> None:
    with pytest.raises(SettingsError, match=r'training\.optimiser.*optimiser = "sgd" with momentum = 0'):
        rule_from(SETTINGS).local_settings(training)


def test_plain_sgd_is_taken_as_it_is() -> None:
    training = TrainingSettings(optimiser="sgd", learning_rate=0.1)
    assert rule_from(SETTINGS).local_settings(training) == training


def test_an_update_without_its_control_variate_is_refused() -> None:
    rule = rule_from(SETTINGS)
    rule.begin({"w": np.zeros(2, np.float32)}, 1)
    with pytest.raises(UpdateRejectedError, match="site lab-1 lacks its change of control variate"):
        rule.add(SiteUpdate("lab-1", {"w": np.ones(2, np.float32)}, 1))


def test_more_answers_than_sites_are_refused() -> None:
    rule = rule_from(SETTINGS, sites=1)
    rule.begin({"w": np.zeros(1, np.float32)}, 1)
    for site in ("lab-1", "lab-2"):
        rule.add(SiteUpdate(site, {"w": np.ones(1, np.float32)}, 1, {"w": np.ones(1, np.float32)}))
    with pytest.raises(FederationError, match="2 sites answered in a federation of 1"):
        rule.finish()


def test_who_says_that_all_take_part_is_held_to_it() -> None:
    """A part of the sites, taken for all, would move the control variate too far, and nobody would see it."""
    rule, weights = rule_from(SETTINGS), {"w": np.zeros(1, np.float32)}
    one: Weights = {"w": np.ones(1, np.float32)}
    rule.begin(weights, 1)
    for site in ("lab-1", "lab-2"):
        rule.add(SiteUpdate(site, one, 1, one))
    rule.finish()
    rule.begin(weights, 2)
    rule.add(SiteUpdate("lab-1", one, 1, one))

    with pytest.raises(FederationError, match="round 2: SCAFFOLD must be told how many sites there are"):
        rule.finish()
