"""Rules over a mean of updates: each against its paper's equations, written out here, and Flower's."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi
from numpy.typing import NDArray

from mien_common.messages import TrainingSettings
from mien_common.weights import Weights
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import SiteUpdate
from mien_server.rules.settings import RuleSettings

Vector = NDArray[np.float64]

FRAMES = (300, 100, 600)
ROUNDS = 4
START = np.array([0.5, -1.0, 0.0, 2.0, 0.25])


def deltas(round_: int) -> Vector:
    """(sites, numbers) Three sites' updates in a round; the fourth number never moves."""
    drawn = np.random.default_rng(round_).normal(0, 0.1, (len(FRAMES), len(START)))
    drawn[:, 3] = 0
    return drawn.astype(np.float32).astype(np.float64)


def weights_of(vector: Vector) -> Weights:
    """As two arrays, so that names matter."""
    return {"b": vector[:2].astype(np.float32), "a": vector[2:].reshape(1, -1).astype(np.float32)}


def vector_of(weights: Weights) -> Vector:
    return np.concatenate([weights["b"], weights["a"].ravel()]).astype(np.float64)


def ours(settings: RuleSettings) -> list[Vector]:
    """The global weights after every round."""
    rule, weights, found = rule_from(settings), weights_of(START), []
    for round_ in range(1, ROUNDS + 1):
        rule.begin(weights, round_)
        for site, (delta, frames) in enumerate(zip(deltas(round_), FRAMES, strict=True)):
            rule.add(SiteUpdate(f"lab-{site}", weights_of(delta), frames))
        weights = rule.finish()
        found.append(vector_of(weights))
    return found


def means() -> Iterator[Vector]:
    """The rounds' mean updates, weighted by frames."""
    for round_ in range(1, ROUNDS + 1):
        yield np.average(deltas(round_), axis=0, weights=FRAMES)


def adaptive(
    v_after: Callable[[Vector, Vector, float], Vector],
    v_first: float,
    rate: float,
    beta_1: float,
    beta_2: float,
    tau: float,
) -> list[Vector]:
    """Reddi et al. (2021), Algorithm 2, from the mean of the updates on."""
    x, m, v, found = START, np.zeros_like(START), np.full_like(START, v_first), []
    for delta in means():
        m = beta_1 * m + (1 - beta_1) * delta
        v = v_after(v, delta, beta_2)
        x = x + rate * m / (np.sqrt(v) + tau)
        found.append(x)
    return found


def adagrad_v(v: Vector, delta: Vector, _: float) -> Vector:
    return v + delta**2


def yogi_v(v: Vector, delta: Vector, beta_2: float) -> Vector:
    return v - (1 - beta_2) * delta**2 * np.sign(v - delta**2)


def adam_v(v: Vector, delta: Vector, beta_2: float) -> Vector:
    return beta_2 * v + (1 - beta_2) * delta**2


def flowers(strategy: FedAvg) -> list[Vector]:
    """Flower's own strategy over the same updates, given whole weights as it expects them."""
    x, found = START, []
    for round_ in range(1, ROUNDS + 1):
        if isinstance(strategy, FedAvgM):
            strategy.current_arrays = ArrayRecord({"all": Array(x)})
        elif isinstance(strategy, FedAdam | FedYogi | FedAdagrad):
            strategy.current_arrays = {"all": x}
        record, _ = strategy.aggregate_train(round_, replies(x + deltas(round_), FRAMES))
        assert record is not None
        x = np.asarray(record["all"].numpy(), np.float64)
        found.append(x)
    return found


def replies(rows: Vector, weights: Sequence[int]) -> list[Message]:
    metadata = Metadata(1, "", 1, 1, "", "", 0.0, 0.0, "train")
    return [
        make_message(
            metadata,
            RecordDict(
                {
                    "arrays": ArrayRecord({"all": Array(row)}),
                    "metrics": MetricRecord({"num-examples": weight}),
                }
            ),
        )
        for row, weight in zip(rows, weights, strict=True)
    ]


def assert_rounds(found: list[Vector], expected: list[Vector]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_fedavg_weighted_by_frames() -> None:
    """McMahan et al. (2017), Algorithm 1: w ← Σ (nₖ / n) wₖ."""
    expected, w = [], START
    for round_ in range(1, ROUNDS + 1):
        w = sum(n / sum(FRAMES) * (w + delta) for n, delta in zip(FRAMES, deltas(round_), strict=True))
        expected.append(w)

    assert_rounds(ours(RuleSettings(name="fedavg")), expected)
    assert_rounds(flowers(FedAvg()), expected)


def test_fedavg_weighted_by_site() -> None:
    expected, w = [], START
    for round_ in range(1, ROUNDS + 1):
        w = w + deltas(round_).mean(axis=0)
        expected.append(w)

    assert_rounds(ours(RuleSettings(name="fedavg", weighting="sites")), expected)


def test_fedprox_averages_like_fedavg_and_tells_the_sites_its_mu() -> None:
    """Li et al. (2020), Algorithm 2: only what the sites minimise differs."""
    settings = RuleSettings(name="fedprox", proximal_mu=0.3)

    assert_rounds(ours(settings), ours(RuleSettings(name="fedavg")))
    training = TrainingSettings(local_epochs=5)
    assert rule_from(settings).local_settings(training) == training.model_copy(update={"proximal_mu": 0.3})


@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "fedadam", "median", "bulyan"])
def test_other_rules_leave_the_sites_training_alone(name: str) -> None:
    training = TrainingSettings(proximal_mu=0.2)
    rule = rule_from(RuleSettings.model_validate({"name": name}))
    assert rule.local_settings(training) == training


@pytest.mark.parametrize(("rate", "beta"), [(1.0, 0.9), (0.5, 0.7), (1.0, 0.0), (0.3, 0.0)])
def test_fedavgm(rate: float, beta: float) -> None:
    """Hsu et al. (2019), section 4.3: v ← βv + Δw, w ← w − v, with Δw = Σ (nₖ / n)(w − wₖ)."""
    expected, w, v = [], START, np.zeros_like(START)
    for mean in means():
        v = beta * v - mean
        w = w - rate * v
        expected.append(w)

    settings = RuleSettings(name="fedavgm", server_learning_rate=rate, server_momentum=beta)
    assert_rounds(ours(settings), expected)
    assert_rounds(flowers(FedAvgM(server_learning_rate=rate, server_momentum=beta)), expected)


@pytest.mark.parametrize("tau", [1e-3, 0.1])
def test_fedadagrad(tau: float) -> None:
    settings = RuleSettings(name="fedadagrad", server_learning_rate=0.03, tau=tau)
    assert_rounds(ours(settings), adaptive(adagrad_v, tau**2, 0.03, 0.0, 0.0, tau))


@pytest.mark.parametrize("tau", [1e-3, 0.1])
@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.99), (0.0, 0.5)])
def test_fedyogi(beta_1: float, beta_2: float, tau: float) -> None:
    settings = RuleSettings(name="fedyogi", server_learning_rate=0.03, beta_1=beta_1, beta_2=beta_2, tau=tau)
    assert_rounds(ours(settings), adaptive(yogi_v, tau**2, 0.03, beta_1, beta_2, tau))


@pytest.mark.parametrize("tau", [1e-3, 0.1])
@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.99), (0.0, 0.5)])
def test_fedadam(beta_1: float, beta_2: float, tau: float) -> None:
    settings = RuleSettings(name="fedadam", server_learning_rate=0.03, beta_1=beta_1, beta_2=beta_2, tau=tau)
    assert_rounds(ours(settings), adaptive(adam_v, tau**2, 0.03, beta_1, beta_2, tau))


def test_flowers_adagrad_and_yogi_are_the_papers_but_for_where_v_starts() -> None:
    assert_rounds(
        flowers(FedYogi(eta=0.03, beta_1=0.9, beta_2=0.99, tau=0.1)),
        adaptive(yogi_v, 0.0, 0.03, 0.9, 0.99, 0.1),
    )
    assert_rounds(flowers(FedAdagrad(eta=0.03, tau=0.1)), adaptive(adagrad_v, 0.0, 0.03, 0.0, 0.0, 0.1))


def test_flowers_adam_takes_other_steps_than_the_papers() -> None:
    """Flower multiplies by Kingma & Ba's correction, and counts rounds from two: why FedAdam is ours."""
    found = flowers(FedAdam(eta=0.03, beta_1=0.9, beta_2=0.99, tau=0.1))[0] - START

    paper = adaptive(adam_v, 0.0, 0.03, 0.9, 0.99, 0.1)[0] - START
    corrected = paper * np.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    np.testing.assert_allclose(found, corrected, rtol=1e-9)
    assert np.abs(found[:3] / paper[:3] - 1).min() > 0.2


@pytest.mark.parametrize(
    ("name", "rate"), [("fedavgm", 1.0), ("fedadam", 0.03), ("fedyogi", 0.03), ("fedadagrad", 0.03)]
)
def test_the_rate_that_is_used_where_none_is_given(name: str, rate: float) -> None:
    plain = RuleSettings.model_validate({"name": name})
    assert_rounds(ours(plain), ours(plain.model_copy(update={"server_learning_rate": rate})))
