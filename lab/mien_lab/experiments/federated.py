"""Federated training in one process, by the agents' own training and the server's own rule.

Enters: a plan, the sites' recordings and a method. Leaves: the weights of the round that was best on the
sites' validation parts: one model for all, or, where arrays stay at the sites, one for each. From site to
rule goes what would leave a site: an update, its number of frames, SCAFFOLD's change of control variate; and
sums over validation recordings.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mien_client.client_app import window_seed
from mien_client.early_stopping import EarlyStopping
from mien_client.scaffold import SiteControl
from mien_client.training import TrainingResult, local_update
from mien_common.network import build
from mien_common.weights import Weights, network_from, weights_of
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import SiteUpdate

from .config import Method
from .outcome import RoundPoint
from .personalisation import fine_tuned, local_arrays
from .plan import EVERYBODY, Plan, Trained, refuse_divergence, round_over
from .preparation import SiteRecordings
from .validation import Pair, agreement, pool, score


@dataclass(frozen=True)
class Federation:
    """The weights of a federation: what all share, and what each site keeps to itself."""

    shared: Weights
    own: Mapping[str, Weights]
    """By site; the arrays that never leave it. Empty where nothing stays."""

    def at(self, site: str) -> Weights:
        """All of the arrays that ``site`` predicts with."""
        return self.shared | self.own[site]

    def models(self) -> dict[str, Weights]:
        """By site where anything differs between sites, else one for everybody."""
        if any(self.own.values()):
            return {site: self.at(site) for site in sorted(self.own)}
        return {EVERYBODY: dict(self.shared)}


def train_federated(plan: Plan, sites: Mapping[str, SiteRecordings], method: Method) -> Trained:
    """All rounds, and what the method does after the last one."""
    rule = rule_from(method.rule, len(sites))
    training = rule.local_settings(plan.training)
    federation = first_weights(plan, sorted(sites), local_arrays(method, plan.architecture))
    controls: dict[str, SiteControl] = {}
    stopping, best = EarlyStopping(plan.patience), federation
    points: list[RoundPoint] = []
    for round_ in range(1, plan.rounds + 1):
        started = time.monotonic()
        own, results = dict(federation.own), []
        rule.begin(federation.shared, round_)
        server = rule.control
        for site in sites_asked(sorted(sites), method.participation, plan.seed, round_):
            control = controls.get(site) or SiteControl.zero(server or {})
            update = local_update(
                federation.at(site),
                plan.architecture,
                sites[site].train,
                training,
                window_seed(plan.seed, round_, site),
                plan.device,
                correction=None if server is None else control.correction(server),
                rate_hz=plan.rate_hz,
            )
            refuse_divergence(update.result.loss, update.delta, round_)
            change = None
            if server is not None:
                controls[site], change = control.after(
                    server, update.delta, update.result.steps, training.learning_rate
                )
            shared = {name: update.delta[name] for name in federation.shared}
            rule.add(SiteUpdate(site, shared, update.result.frames, change))
            own[site] = {name: array + update.delta[name] for name, array in own[site].items()}
            results.append(update.result)
        federation = Federation(rule.finish(), own)
        ccc = agreement(_validate(plan, sites, federation))
        points.append(RoundPoint(round_, _mean_loss(results), ccc, time.monotonic() - started))
        plan.tell()
        stop = round_over(stopping, round_, score(ccc), federation.shared)
        best = federation if stopping.best_round == round_ else best
        if stop:
            break
    if stopping.best_round is None:
        best = federation
    if method.personalisation == "fine-tuning":
        models = fine_tuned(plan, sites, best.shared, method.fine_tuning_epochs)
    else:
        models = best.models()
    return Trained(models, tuple(points), stopping.best_round or len(points))


def first_weights(plan: Plan, sites: Sequence[str], local: frozenset[str]) -> Federation:
    """Every site starts from the weights that the server would send first."""
    weights = weights_of(build(plan.architecture, plan.seed))
    shared = {name: array for name, array in weights.items() if name not in local}
    return Federation(
        shared, {site: {name: weights[name] for name in weights if name in local} for site in sites}
    )


def sites_asked(sites: Sequence[str], participation: float, seed: int, round_: int) -> list[str]:
    """The sites that train in a round, in the order of their names; at least one.

    Drawn without replacement, the same when a run is repeated.
    """
    count = max(round(participation * len(sites)), 1)
    if count == len(sites):
        return sorted(sites)
    drawn = np.random.default_rng([seed, round_]).choice(len(sites), size=count, replace=False)
    return [sorted(sites)[index] for index in sorted(drawn)]


def _validate(plan: Plan, sites: Mapping[str, SiteRecordings], federation: Federation) -> Pair:
    """Sums of every site, those that were not asked this round too, each with the model it predicts with."""
    return pool(
        plan.measure.of(network_from(federation.at(site), plan.architecture), recordings.validation)
        for site, recordings in sorted(sites.items())
        if recordings.validation
    )


def _mean_loss(results: Sequence[TrainingResult]) -> float:
    return float(
        np.average([result.loss for result in results], weights=[result.frames for result in results])
    )
