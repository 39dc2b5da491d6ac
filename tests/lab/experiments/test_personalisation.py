"""What stays at a site: it never reaches the rule, and it is the site's own."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien_client.rated_recording import Recording
from mien_common.architecture import Architecture
from mien_common.errors import SettingsError
from mien_common.messages import TrainingSettings
from mien_common.network import HEAD, build, normalisation_arrays
from mien_common.weights import Weights, network_from, shapes_of, weights_of
from mien_lab.experiments import federated
from mien_lab.experiments.config import Method
from mien_lab.experiments.federated import train_federated
from mien_lab.experiments.personalisation import fine_tuned, local_arrays
from mien_lab.experiments.plan import EVERYBODY, Plan
from mien_lab.experiments.preparation import SiteRecordings
from mien_lab.experiments.validation import Measure, agreement, score
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import Rule, SiteUpdate
from mien_server.rules.settings import RuleSettings

NORMALISED = Architecture(channels=3, hidden_units=4, layers=1, input_norm=True, residual=True)
TRAINING = TrainingSettings(local_epochs=1, learning_rate=0.02, window_s=2.0, batch_windows=4)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker; tiny networks lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _recording(seed: int, slope: float = 1.0, frames: int = 300) -> Recording:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(frames, 3)).cumsum(axis=0)
    inputs = ((inputs - inputs.mean(axis=0)) / inputs.std(axis=0)).astype(np.float32)
    return Recording(inputs, np.tanh(slope * inputs[:, :2]).astype(np.float32), np.ones(frames, np.bool_))


def _sites() -> dict[str, SiteRecordings]:
    """Two sites whose people do the opposite of each other."""
    return {
        site: SiteRecordings((_recording(seed, slope),), (_recording(seed + 50, slope, 100),))
        for site, seed, slope in (("a", 1, 1.0), ("b", 2, -1.0))
    }


def _plan(rounds: int = 3) -> Plan:
    return Plan(NORMALISED, TRAINING, rounds, None, 5, 25.0, Measure("avec", CPU), CPU)


class _Listening:
    """A rule that remembers which arrays it was shown."""

    def __init__(self, rule: Rule, heard: set[str]) -> None:
        self._rule, self._heard = rule, heard

    def __getattr__(self, name: str) -> object:
        return getattr(self._rule, name)

    def begin(self, weights: Weights, round_: int) -> None:
        self._heard |= set(weights)
        self._rule.begin(weights, round_)

    def add(self, update: SiteUpdate) -> None:
        self._heard |= set(update.delta)
        if update.control_delta:
            self._heard |= set(update.control_delta)
        self._rule.add(update)


@pytest.mark.parametrize("personalisation", ["local-head", "local-normalisation"])
@pytest.mark.parametrize("rule", ["fedavg", "scaffold", "fedadam"])
def test_what_is_local_never_reaches_the_rule(
    personalisation: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: set[str] = set()
    monkeypatch.setattr(federated, "rule_from", lambda *given: _Listening(rule_from(*given), heard))
    method = Method.model_validate(
        {"name": "m", "kind": "federated", "personalisation": personalisation, "rule": {"name": rule}}
    )
    plan = replace(_plan(), training=TRAINING.model_copy(update={"optimiser": "sgd"}))
    trained = train_federated(plan, _sites(), method)
    local = local_arrays(method, NORMALISED)
    if personalisation == "local-head":
        assert local == {name for name in shapes_of(NORMALISED) if name.startswith(HEAD)}
    else:
        assert local == normalisation_arrays(NORMALISED)
    assert local
    assert heard == set(shapes_of(NORMALISED)) - local
    first = weights_of(build(NORMALISED, 5))
    for name, array in trained.models["a"].items():
        if name in local:
            assert (array != trained.models["b"][name]).any(), name
            assert (array != first[name]).any(), name
        else:
            np.testing.assert_array_equal(array, trained.models["b"][name])


def test_a_head_of_its_own_serves_a_site_that_is_unlike_the_others() -> None:
    shared = train_federated(_plan(8), _sites(), Method(name="m", kind="federated"))
    own = train_federated(
        _plan(8), _sites(), Method(name="m", kind="federated", personalisation="local-head")
    )
    assert set(shared.models) == {EVERYBODY}
    assert score(own.rounds[-1].validation) > score(shared.rounds[-1].validation) + 0.3


def test_a_site_that_is_not_asked_keeps_what_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(federated, "sites_asked", lambda *_: ["a"])
    sites = {name: replace(site, validation=()) for name, site in _sites().items()}
    method = Method(name="m", kind="federated", personalisation="local-head")
    trained = train_federated(_plan(2), sites, method)
    first = weights_of(build(NORMALISED, 5))
    np.testing.assert_array_equal(trained.models["b"]["head.weight"], first["head.weight"])
    assert (trained.models["a"]["head.weight"] != first["head.weight"]).any()


def test_the_best_round_is_taken_with_the_heads_of_that_round(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Method(name="m", kind="federated", personalisation="local-head")
    unvalidated = {name: replace(site, validation=()) for name, site in _sites().items()}
    second = train_federated(_plan(2), unvalidated, method)
    scores = iter([0.1, 0.5, 0.2, 0.3])
    monkeypatch.setattr(federated, "score", lambda _: next(scores))
    trained = train_federated(_plan(4), _sites(), method)
    assert trained.chosen_round == 2
    for site in ("a", "b"):
        for name, array in trained.models[site].items():
            np.testing.assert_array_equal(array, second.models[site][name])


def test_fine_tuning_helps_a_site_and_never_falls_behind_on_its_validation() -> None:
    shared = train_federated(_plan(4), _sites(), Method(name="m", kind="federated")).models[EVERYBODY]
    tuned = fine_tuned(_plan(4), _sites(), shared, epochs=6)
    plan = _plan(4)
    for site, recordings in _sites().items():
        before, after = (
            score(agreement(plan.measure.of(network_from(weights, NORMALISED), recordings.validation)))
            for weights in (shared, tuned[site])
        )
        assert after >= before
        assert after > 0.3


def test_a_site_that_fine_tuning_does_not_help_keeps_the_shared_model() -> None:
    shared = weights_of(build(NORMALISED, 5))
    site = _sites()["a"]
    # Validation says the opposite of training: every step makes it worse, once the model has learnt.
    learnt = fine_tuned(_plan(), {"a": replace(site, validation=())}, shared, epochs=10)["a"]
    against = SiteRecordings(_sites()["b"].train, site.validation)
    kept = fine_tuned(_plan(), {"a": against}, learnt, epochs=2)["a"]
    for name, array in learnt.items():
        np.testing.assert_array_equal(kept[name], array)


def test_a_model_without_normalisation_has_none_to_keep() -> None:
    method = Method(name="m", kind="federated", personalisation="local-normalisation", rule=RuleSettings())
    with pytest.raises(SettingsError, match="input_norm = true"):
        local_arrays(method, Architecture())
