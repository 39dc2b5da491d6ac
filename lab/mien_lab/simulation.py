"""Federated training of very many tiny sites on one machine, with memory that does not grow with them.

Enters: settings. Leaves: global weights and, round by round, loss, validation CCC, time and memory. A site is
trained as the deployed agent would, side by side with a few others (:mod:`.side_by_side`); its update goes
into the server's rule and is forgotten, and only one block of sites' data per process exist at a time. The
same settings give the same weights, whatever the number of workers.

Ten lines to try it::

    from mien_lab.simulation import SimulationSettings, simulate

    result = simulate(SimulationSettings(sites=20, rounds=2), workers=1)
    [point.validation for point in result.rounds]     # pooled CCC of valence and arousal
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mien_common.architecture import Architecture
from mien_common.ccc import Moments, ccc_from_moments
from mien_common.errors import FederationError, SettingsError
from mien_common.messages import TrainingSettings
from mien_common.network import build
from mien_common.weights import Weights, to_safetensors, weights_of
from mien_server.rules.choice import rule_from
from mien_server.rules.rule import Rule, SiteUpdate
from mien_server.rules.settings import RuleName, RuleSettings

from .experiments.federated import sites_asked
from .simulated_site import name_of
from .simulated_visits import Block, Shared, TrainOrder, ValidateOrder, blocks_of, peak_mb
from .simulation_crew import Crew, Workers

ARCHITECTURE: Final = Architecture(kind="gru", hidden_units=16, layers=1)
TRAINING: Final = TrainingSettings(local_epochs=1, learning_rate=1e-2, window_s=5.0, batch_windows=4)
FEDAVG: Final = RuleSettings()
ALL_AT_ONCE: Final[frozenset[RuleName]] = frozenset(
    ("median", "trimmed-mean", "krum", "multi-krum", "bulyan")
)
"""Rules that look at all updates of a round together: their memory grows with the number of sites."""


@dataclass(frozen=True)
class SimulationSettings:
    """What decides the result."""

    sites: int = 1000
    rounds: int = 10
    rule: RuleSettings = FEDAVG
    participation: float = 1.0
    """Share of sites asked in a round."""
    seconds: float = 12.0
    """Mean length of a site's one recording."""
    seed: int = 7
    architecture: Architecture = ARCHITECTURE
    training: TrainingSettings = TRAINING
    validation_sites: int = 20
    """How many sites, drawn once, the global model is tried at after each round."""


@dataclass(frozen=True)
class SimulatedRound:
    """What came of a round."""

    round: int
    sites: int
    """Asked."""
    silent: int
    """Those of them that had no frame to train on."""
    loss: float
    """Mean training loss over sites, weighted by frames."""
    validation: tuple[float, float]
    """Pooled CCC of valence and arousal at the validation sites."""
    seconds: float
    """Of training and combining."""
    validation_seconds: float
    own_peak_mb: float
    """Largest resident set so far, of this process."""
    workers_peak_mb: tuple[float, ...]
    """Of each worker, in their order."""

    @property
    def sites_per_s(self) -> float:
        """Trained and combined."""
        return self.sites / self.seconds

    @property
    def peak_mb(self) -> float:
        """Of all processes together; what they share, such as PyTorch's code, is counted in each."""
        return self.own_peak_mb + sum(self.workers_peak_mb)


@dataclass(frozen=True)
class SimulationResult:
    """What came of it all."""

    weights: Weights
    rounds: tuple[SimulatedRound, ...]
    start_s: float
    """Until the workers were ready."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return hashlib.sha256(to_safetensors(self.weights)).hexdigest()


Tell = Callable[[SimulatedRound], None]


def simulate(
    settings: SimulationSettings, workers: int, tell: Tell = lambda _point: None
) -> SimulationResult:
    """Simulate with ``workers`` processes, which are ended whatever happens.

    Raises
    ------
    SettingsError
        The rule cannot be simulated, or needs more sites.
    MienError
        A worker is gone, or the rule gives no weights.
    """
    refuse_impossible(settings)
    started = time.monotonic()
    crew = Workers(shared_of(settings), workers)
    try:
        return run(settings, crew, tell, started)
    finally:
        crew.stop()


def refuse_impossible(settings: SimulationSettings) -> None:
    """Raise SettingsError for a rule that cannot be simulated so."""
    if settings.rule.name == "scaffold":
        raise SettingsError(
            "rule scaffold: every site would have to keep its control variate from round to round, and "
            "simulated sites are forgotten. Take another rule, or `mien lab compare`."
        )
    rule, asked = rule_from(settings.rule), len(_asked(settings, 1))
    if asked < rule.fewest_sites:
        raise SettingsError(
            f"rule {settings.rule.name} needs {rule.fewest_sites} sites a round and {asked} take part. Take "
            "more --sites or a higher --participation."
        )


def shared_of(settings: SimulationSettings) -> Shared:
    """What all sites of a simulation share."""
    training = rule_from(settings.rule).local_settings(settings.training)
    return Shared(settings.seed, settings.seconds, settings.architecture, training)


def run(settings: SimulationSettings, crew: Crew, tell: Tell, started: float) -> SimulationResult:
    """All rounds, by ``crew``, which was being made ready since ``started``."""
    rule = rule_from(settings.rule, settings.sites)
    weights = weights_of(build(settings.architecture, settings.seed))
    judges = _judges(settings)
    list(crew.validate(ValidateOrder(weights, judges)))  # start-up is over when all have answered once
    start_s = time.monotonic() - started
    points = []
    for round_ in range(1, settings.rounds + 1):
        weights, point = _round(settings, crew, rule, weights, round_, judges)
        points.append(point)
        tell(point)
    return SimulationResult(weights, tuple(points), start_s)


def _round(
    settings: SimulationSettings,
    crew: Crew,
    rule: Rule,
    weights: Weights,
    round_: int,
    judges: tuple[Block, ...],
) -> tuple[Weights, SimulatedRound]:
    began = time.monotonic()
    sites = _asked(settings, round_)
    rule.begin(weights, round_)
    frames, silent, losses = 0, 0, 0.0
    for answer in crew.train(TrainOrder(round_, weights, blocks_of(sites, settings.seconds))):
        if answer.delta is None:
            silent += 1
            continue
        rule.add(SiteUpdate(answer.site, answer.delta, answer.frames))
        frames += answer.frames
        losses += answer.frames * answer.loss
    if not frames:
        raise FederationError(f"round {round_}: no site has a frame to train on. Give more --seconds.")
    weights = rule.finish()
    trained = time.monotonic()
    ccc = _validation(crew, weights, judges)
    point = SimulatedRound(
        round=round_,
        sites=len(sites),
        silent=silent,
        loss=losses / frames,
        validation=ccc,
        seconds=trained - began,
        validation_seconds=time.monotonic() - trained,
        own_peak_mb=peak_mb(),
        workers_peak_mb=crew.peaks_mb,
    )
    return weights, point


def _asked(settings: SimulationSettings, round_: int) -> tuple[str, ...]:
    names = [name_of(number) for number in range(settings.sites)]
    return tuple(sites_asked(names, settings.participation, settings.seed, round_))


def _judges(settings: SimulationSettings) -> tuple[Block, ...]:
    """The sites that the global model is tried at, in order."""
    count = min(settings.validation_sites, settings.sites)
    drawn = np.random.default_rng([settings.seed, 0]).choice(settings.sites, size=count, replace=False)
    return blocks_of([name_of(int(number)) for number in sorted(drawn)], settings.seconds)


def _validation(crew: Crew, weights: Weights, judges: tuple[Block, ...]) -> tuple[float, float]:
    valence, arousal = Moments(), Moments()
    for answer in crew.validate(ValidateOrder(weights, judges)):
        for one in answer.moments:
            valence, arousal = valence + one.valence, arousal + one.arousal
    return ccc_from_moments(valence), ccc_from_moments(arousal)
