"""Training in one place: all recordings together, or one site's alone.

Enters: a plan and recordings. Leaves: the weights of the round that was best on the validation parts. It is
the agents' own :func:`~mien_client.training.train`, with one optimiser over as many epochs as the sites'
rounds have.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mien_client.client_app import window_seed
from mien_client.early_stopping import EarlyStopping
from mien_client.rated_recording import Recording
from mien_client.training import train
from mien_common.network import build
from mien_common.weights import Weights, weights_of

from .outcome import RoundPoint
from .plan import EVERYBODY, Plan, Trained, refuse_divergence, round_over
from .preparation import SiteRecordings
from .validation import Pair, agreement, pool, score

TOGETHER = "centralised"
"""In the place of a site's name, in the seed of the windows."""


@dataclass(frozen=True)
class _Point:
    loss: float
    pair: Pair
    seconds: float


@dataclass(frozen=True)
class _Alone:
    """What came of training on one set of recordings."""

    weights: Weights
    points: tuple[_Point, ...]
    chosen_round: int
    frames: int


def train_centralised(plan: Plan, sites: Mapping[str, SiteRecordings]) -> Trained:
    """One model from everybody's recordings."""
    names = sorted(sites)
    alone = _train(
        plan,
        [recording for name in names for recording in sites[name].train],
        [recording for name in names for recording in sites[name].validation],
        TOGETHER,
    )
    return Trained({EVERYBODY: alone.weights}, _together([alone]), alone.chosen_round)


def train_local(plan: Plan, sites: Mapping[str, SiteRecordings]) -> Trained:
    """A model per site, from its own recordings alone.

    Each stops by its own validation. In the curve a site that has stopped stays at its last point; the
    chosen round is the median over sites.
    """
    names = sorted(sites)
    each = [_train(plan, sites[name].train, sites[name].validation, name) for name in names]
    return Trained(
        {name: alone.weights for name, alone in zip(names, each, strict=True)},
        _together(each),
        int(np.median([alone.chosen_round for alone in each])),
    )


def _train(plan: Plan, recordings: Sequence[Recording], validation: Sequence[Recording], who: str) -> _Alone:
    network = build(plan.architecture, plan.seed)
    epochs = plan.training.local_epochs
    stopping = EarlyStopping(plan.patience)
    points: list[_Point] = []
    started = time.monotonic()

    def after_epoch(epoch: int, loss: float) -> bool:
        nonlocal started
        if epoch % epochs:
            return False
        round_, weights = epoch // epochs, weights_of(network)
        refuse_divergence(loss, weights, round_)
        pair = plan.measure.of(network, validation)
        now = time.monotonic()
        points.append(_Point(loss, pair, now - started))
        started = now
        plan.tell()
        return round_over(stopping, round_, score(agreement(pair)), weights)

    settings = plan.training.model_copy(update={"local_epochs": plan.rounds * epochs})
    result = train(
        network,
        recordings,
        settings,
        window_seed(plan.seed, 1, who),
        plan.device,
        rate_hz=plan.rate_hz,
        after_epoch=after_epoch,
    )
    if stopping.best_round is None or stopping.best_weights is None:
        return _Alone(weights_of(network), tuple(points), len(points), result.frames)
    return _Alone(stopping.best_weights, tuple(points), stopping.best_round, result.frames)


def _together(each: Sequence[_Alone]) -> tuple[RoundPoint, ...]:
    frames = [alone.frames for alone in each]
    points = []
    for index in range(max(len(alone.points) for alone in each)):
        here = [alone.points[min(index, len(alone.points) - 1)] for alone in each]
        points.append(
            RoundPoint(
                round=index + 1,
                loss=float(np.average([point.loss for point in here], weights=frames)),
                validation=agreement(pool(point.pair for point in here)),
                seconds=sum(alone.points[index].seconds for alone in each if index < len(alone.points)),
            )
        )
    return tuple(points)
