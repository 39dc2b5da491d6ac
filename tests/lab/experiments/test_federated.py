"""Federated training against the paper's own lines, and against training in one place."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien_client.client_app import window_seed
from mien_client.rated_recording import Recording
from mien_client.training import train
from mien_common.architecture import Architecture
from mien_common.errors import InputError
from mien_common.messages import TrainingSettings
from mien_common.network import build
from mien_common.weights import Weights, network_from, weights_of
from mien_lab.experiments.centralised import TOGETHER, train_centralised, train_local
from mien_lab.experiments.config import Method
from mien_lab.experiments.federated import sites_asked, train_federated
from mien_lab.experiments.plan import EVERYBODY, Plan
from mien_lab.experiments.preparation import SiteRecordings
from mien_lab.experiments.validation import Measure
from mien_server.rules.settings import RuleName, RuleSettings

TINY = Architecture(kind="gru", channels=3, hidden_units=4, layers=1)
SGD = TrainingSettings(
    local_epochs=1, learning_rate=0.3, window_s=2.0, batch_windows=4, optimiser="sgd", clip_gradient_norm=100
)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker; tiny networks lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _recording(seed: int, frames: int = 300) -> Recording:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(frames, 3)).cumsum(axis=0)
    inputs = ((inputs - inputs.mean(axis=0)) / inputs.std(axis=0)).astype(np.float32)
    targets = np.tanh(inputs[:, :2] + 0.1 * (seed % 5)).astype(np.float32)
    return Recording(inputs, targets, random.random(frames) > 0.1)


def _site(*seeds: int) -> SiteRecordings:
    return SiteRecordings(
        tuple(_recording(seed) for seed in seeds), tuple(_recording(seed + 100, 100) for seed in seeds)
    )


def _plan(rounds: int = 3, training: TrainingSettings = SGD, patience: int | None = None) -> Plan:
    return Plan(TINY, training, rounds, patience, 5, 25.0, Measure("avec", CPU), CPU)


def _federated(rule: RuleName = "fedavg", **choices: object) -> Method:
    settings = RuleSettings.model_validate({"name": rule, **choices})
    return Method(name="f", kind="federated", rule=settings)


def _unvalidated(sites: Mapping[str, SiteRecordings]) -> dict[str, SiteRecordings]:
    """So that the last round is taken."""
    return {name: replace(site, validation=()) for name, site in sites.items()}


def _same(one: Weights, other: Weights, tolerance: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=0, atol=tolerance, err_msg=name)


def test_one_site_and_one_epoch_are_training_in_one_place() -> None:
    sites = _unvalidated({TOGETHER: _site(1, 2)})  # named so, the site's windows are the same
    federated = train_federated(_plan(rounds=1), sites, _federated())
    central = train_centralised(_plan(rounds=1), sites)
    alone = train_local(_plan(rounds=1), sites)
    _same(federated.models[EVERYBODY], central.models[EVERYBODY], 1e-7)
    _same(central.models[EVERYBODY], alone.models[TOGETHER])
    assert federated.rounds[0].loss == central.rounds[0].loss


def test_federated_averaging_is_algorithm_1_of_mcmahan_2017() -> None:
    sites = _unvalidated({"a": _site(1), "b": _site(2, 3), "c": _site(4)})
    trained = train_federated(_plan(), sites, _federated())

    weights = weights_of(build(TINY, 5))
    frames = {name: sum(int(one.counts.sum()) for one in site.train) for name, site in sites.items()}
    for round_ in (1, 2, 3):
        mean = {name: np.zeros(array.shape) for name, array in weights.items()}
        for site, recordings in sites.items():
            network = network_from(weights, TINY)
            train(network, recordings.train, SGD, window_seed(5, round_, site), CPU)
            for name, array in weights_of(network).items():
                mean[name] += array * (frames[site] / sum(frames.values()))
        weights = {name: array.astype(np.float32) for name, array in mean.items()}
    _same(trained.models[EVERYBODY], weights, 2e-6)


def test_scaffold_is_algorithm_1_of_karimireddy_2020() -> None:
    sites = _unvalidated({"a": _site(1), "b": _site(2)})
    method = _federated("scaffold", weighting="sites", server_learning_rate=1.0)
    trained = train_federated(_plan(), sites, method)

    weights = weights_of(build(TINY, 5))
    zero = {name: np.zeros(array.shape) for name, array in weights.items()}
    server, own = dict(zero), {site: dict(zero) for site in sites}
    for round_ in (1, 2, 3):
        deltas, changes = dict(zero), dict(zero)
        for site, recordings in sites.items():
            network = network_from(weights, TINY)
            correction = {name: (server[name] - own[site][name]).astype(np.float32) for name in weights}
            seed = window_seed(5, round_, site)
            result = train(network, recordings.train, SGD, seed, CPU, correction=correction)
            for name, array in weights_of(network).items():
                delta = array - weights[name].astype(np.float64)
                new = own[site][name] - server[name] - delta / (result.steps * SGD.learning_rate)
                deltas[name] = deltas[name] + delta / len(sites)
                changes[name] = changes[name] + (new - own[site][name]) / len(sites)
                own[site][name] = new
        weights = {name: (array + deltas[name]).astype(np.float32) for name, array in weights.items()}
        server = {name: server[name] + changes[name] for name in server}
    _same(trained.models[EVERYBODY], weights, 5e-6)


def test_sites_that_are_all_alike_come_to_what_one_of_them_would(monkeypatch: pytest.MonkeyPatch) -> None:
    # The windows of a site are drawn by its name; here all draw the same.
    monkeypatch.setattr("mien_lab.experiments.federated.window_seed", lambda seed, round_, _: seed + round_)
    three = train_federated(_plan(), {name: _site(1) for name in "abc"}, _federated())
    one = train_federated(_plan(), {"a": _site(1)}, _federated())
    _same(three.models[EVERYBODY], one.models[EVERYBODY], 1e-6)


def test_the_round_that_validation_finds_best_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    sites = {"a": _site(1), "b": _site(2)}
    third = train_federated(_plan(3), _unvalidated(sites), _federated()).models[EVERYBODY]
    # Rounds 1 to 6 score so; the seventh would be best, and is never seen with a patience of 3.
    scores = iter([0.1, 0.2, 0.5, float("nan"), 0.4, 0.5, 0.9])
    monkeypatch.setattr("mien_lab.experiments.federated.score", lambda _: next(scores))
    trained = train_federated(_plan(10, patience=3), sites, _federated())
    assert (trained.chosen_round, len(trained.rounds)) == (3, 6)
    _same(trained.models[EVERYBODY], third)


def test_training_in_one_place_stops_by_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SGD.model_copy(update={"local_epochs": 2})
    sites = {"a": _site(1), "b": _site(2)}
    third = train_centralised(_plan(3, settings), _unvalidated(sites)).models[EVERYBODY]
    scores = iter([0.1, 0.2, 0.5, 0.3, 0.4, 0.9])
    monkeypatch.setattr("mien_lab.experiments.centralised.score", lambda _: next(scores))
    trained = train_centralised(_plan(10, settings, patience=2), sites)
    assert (trained.chosen_round, [point.round for point in trained.rounds]) == (3, [1, 2, 3, 4, 5])
    _same(trained.models[EVERYBODY], third)


def test_the_better_of_two_models_is_chosen_by_people_who_were_kept_from_training() -> None:
    # Without a patched score: validation parts that contradict training are best served by the first round.
    against = [replace(_recording(101, 300), targets=-_recording(101, 300).targets)]
    sites = {"a": SiteRecordings((_recording(1),), tuple(against))}
    trained = train_federated(_plan(6), sites, _federated())
    means = [np.mean(point.validation) for point in trained.rounds]
    assert trained.chosen_round == int(np.argmax(means)) + 1
    assert trained.chosen_round < 6


def test_each_site_alone_never_sees_another() -> None:
    sites = {"a": _site(1), "b": _site(2)}
    together = train_local(_plan(), sites)
    by_itself = train_local(_plan(), {"b": sites["b"]})
    _same(together.models["b"], by_itself.models["b"])
    assert set(together.models) == {"a", "b"}


def test_a_share_of_the_sites_is_asked_in_the_order_of_names_and_the_same_again() -> None:
    names = [f"s{number}" for number in range(10)]
    rounds = [sites_asked(names, 0.3, 1, round_) for round_ in range(40)]
    assert all(len(asked) == 3 and asked == sorted(set(asked)) for asked in rounds)
    assert rounds == [sites_asked(names, 0.3, 1, round_) for round_ in range(40)]
    assert set().union(*rounds) == set(names)
    assert len({tuple(asked) for asked in rounds}) > 10
    assert sites_asked(names, 0.01, 1, 1)
    assert sites_asked(list(reversed(names)), 1.0, 1, 1) == names


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_training_that_diverges_is_said_with_its_round() -> None:
    broken = replace(_recording(1), inputs=np.full((300, 3), np.float32(np.inf)))
    sites = {"a": SiteRecordings((broken,), ())}
    with pytest.raises(InputError, match=r"diverged in round 1.*learning_rate"):
        train_federated(_plan(), sites, _federated())
    with pytest.raises(InputError, match=r"diverged in round 1.*learning_rate"):
        train_centralised(_plan(), sites)


@pytest.mark.parametrize("rule", ["fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "median", "krum"])
def test_every_rule_trains(rule: RuleName) -> None:
    sites = {name: _site(number) for number, name in enumerate("abcde")}
    trained = train_federated(_plan(2), sites, _federated(rule, server_learning_rate=0.01))
    first = weights_of(build(TINY, 5))
    assert any((trained.models[EVERYBODY][name] != first[name]).any() for name in first)
