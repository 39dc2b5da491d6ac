"""What every way of training is given, and what each gives back.

Enters: nothing; these are the types. One :class:`Plan` is one run of a comparison, whatever its method.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from mien_client.early_stopping import EarlyStopping
from mien_common.architecture import Architecture
from mien_common.errors import InputError
from mien_common.messages import TrainingSettings
from mien_common.weights import Weights

from .config import Config, ModelChoice
from .outcome import RoundPoint
from .validation import Measure

EVERYBODY: Final = ""
"""Key of the one model that all share; a site's own model has the site's name, which is never empty."""


@dataclass(frozen=True)
class Plan:
    """How long, with what and on what to train."""

    architecture: Architecture
    training: TrainingSettings
    rounds: int
    patience: int | None
    seed: int
    rate_hz: float
    measure: Measure
    device: torch.device
    tell: Callable[[], None] = lambda: None
    """Called when a round is over: everybody's, or one site's where each trains alone."""


@dataclass(frozen=True)
class Trained:
    """What came of training."""

    models: Mapping[str, Weights]
    """By site, or one under :data:`EVERYBODY`."""
    rounds: tuple[RoundPoint, ...]
    chosen_round: int


def plan_of(
    config: Config,
    model: ModelChoice,
    seed: int,
    channels: int,
    rate_hz: float,
    device: torch.device,
    tell: Callable[[], None] = lambda: None,
) -> Plan:
    """The plan of a run of ``config`` with ``model`` on a corpus of so many channels."""
    return Plan(
        architecture=model.architecture.model_copy(update={"channels": channels}),
        training=config.training,
        rounds=config.rounds,
        patience=config.patience,
        seed=seed,
        rate_hz=rate_hz,
        measure=Measure(config.protocol, device),
        device=device,
        tell=tell,
    )


def refuse_divergence(loss: float, weights: Weights, round_: int) -> None:
    """Stop a run whose numbers are lost.

    Raises
    ------
    InputError
        Loss or weights are not finite.
    """
    if not np.isfinite(loss) or not all(np.isfinite(array).all() for array in weights.values()):
        raise InputError(
            f"training diverged in round {round_}: loss or weights are no longer finite numbers. "
            "Give a smaller training.learning_rate or a smaller training.clip_gradient_norm."
        )


def round_over(stopping: EarlyStopping, round_: int, score: float, weights: Weights) -> bool:
    """Whether to stop after a round with this validation score.

    Where the validation parts have no CCC (their ratings never change, or there are none) nothing stops
    training, and the last round is taken.
    """
    if np.isnan(score) and stopping.best_round is None:
        return False
    return stopping.observe(round_, score, weights)
