"""Local training: windows of this site's recordings through the network.

Enters: recordings of this site and the global weights. Leaves (to :mod:`mien_client.client_app`): new
weights and a loss. Never leaves: features, ratings, predictions, the site's statistics.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from mien_common.architecture import Architecture
from mien_common.errors import SessionError, SettingsError
from mien_common.messages import TrainingSettings
from mien_common.network import AffectNetwork
from mien_common.schema import AU_V1
from mien_common.weights import Weights, network_from, weights_of

from . import recurrence
from .losses import loss_of
from .rated_recording import Recording
from .windows import Windows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a round of local training gave."""

    loss: float
    """Mean over the last epoch's batches."""
    frames: int
    """Frames that counted."""
    steps: int
    """Optimiser steps taken."""


@dataclass(frozen=True)
class LocalUpdate:
    """What a site's training made of the global weights."""

    delta: Weights
    """New weights minus the global ones."""
    result: TrainingResult


def local_update(
    weights: Weights,
    architecture: Architecture,
    recordings: Sequence[Recording],
    settings: TrainingSettings,
    seed: int,
    device: torch.device,
    *,
    correction: Weights | None = None,
    rate_hz: float = AU_V1.rate_hz,
) -> LocalUpdate:
    """One round at one site: the global ``weights``, trained on ``recordings``; see :func:`train`."""
    network = network_from(weights, architecture)
    result = train(network, recordings, settings, seed, device, correction=correction, rate_hz=rate_hz)
    trained = weights_of(network)
    return LocalUpdate({name: trained[name] - weights[name] for name in weights}, result)


def train(
    network: AffectNetwork,
    recordings: Sequence[Recording],
    settings: TrainingSettings,
    seed: int,
    device: torch.device,
    *,
    correction: Weights | None = None,
    rate_hz: float = AU_V1.rate_hz,
    after_epoch: Callable[[int, float], bool] | None = None,
) -> TrainingResult:
    """Train ``network`` in place on random windows of ``recordings``.

    Each epoch cuts every recording into windows from a random start, in random order. On one machine the
    same seed gives the same weights.

    Parameters
    ----------
    correction : added to every gradient; SCAFFOLD's c − cᵢ (Karimireddy et al., 2020, eq. 3).
    rate_hz : of the recordings' frames.
    after_epoch : called with the epoch, from 1, and its mean loss, the network in evaluation mode; True
        ends training.

    Raises
    ------
    SessionError
        No frame of the recordings counts.
    SettingsError
        The settings cannot train this architecture.
    """
    frames = sum(int(recording.counts.sum()) for recording in recordings)
    if not frames:
        raise SessionError("no frame of this site's training sessions is both valid and rated.")
    per_window = network.architecture.predicts == "window"
    fewest = 2 if per_window and settings.mse_share < 1.0 else 1
    if settings.batch_windows < fewest:
        raise SettingsError(
            "batch_windows is 1, and the CCC of a single window's pair is undefined. "
            "Set batch_windows to 2 or more, or mse_share to 1."
        )
    generator = np.random.default_rng(seed)
    network.to(device).train()
    windows = Windows(recordings, max(round(settings.window_s * rate_hz), 2), device)
    bf16 = settings.precision == "bf16" and _can_bf16(device)
    optimiser = _optimiser(network, settings)
    pull = _Pull(network, settings.proximal_mu, correction)
    steps, mean_loss = 0, float("nan")
    for epoch in range(1, settings.local_epochs + 1):
        losses: list[Tensor] = []
        for batch in windows.epoch(generator, settings.batch_windows, fewest):
            optimiser.zero_grad(set_to_none=True)
            prediction = (
                _in_bf16(network, batch.inputs) if bf16 else recurrence.forward(network, batch.inputs)
            )
            if per_window:  # the batch is one trace of windows
                batch, prediction = batch.means(), prediction[None]
            loss = loss_of(prediction, batch.targets, batch.counts, settings.mse_share)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_gradient_norm)
            pull.add()
            optimiser.step()
            losses.append(loss.detach())
        steps, mean_loss = steps + len(losses), float(torch.stack(losses).double().mean())
        network.eval()
        if after_epoch is not None and after_epoch(epoch, mean_loss):
            break
        network.train()
    network.eval()
    return TrainingResult(mean_loss, frames, steps)


def _in_bf16(network: AffectNetwork, inputs: Tensor) -> Tensor:
    """The recurrence in bfloat16; what is before it, head and loss in float32."""
    features = network.before_recurrence(inputs)
    with torch.autocast(inputs.device.type, torch.bfloat16):
        hidden, _ = network.recurrence(features)
    return network.after_recurrence(hidden.float())


@cache
def _can_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is quicker there; said once where it is not."""
    if device.type == "cuda":
        return True
    _log.warning("precision bf16 is for CUDA and this site trains on its CPU: it trains in float32")
    return False


def _optimiser(network: AffectNetwork, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba, 2015), AdamW (Loshchilov & Hutter, 2019) or SGD."""
    parameters, rate, decay = network.parameters(), settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=settings.momentum, weight_decay=decay, fused=True
        )
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay, fused=True)


class _Pull:
    """What federated rules add to a site's gradients, so that it does not drift from the others.

    It is added to the clipped gradient: clipping tames what the recurrence blows up (Pascanu et al., 2013),
    and SCAFFOLD's new control variate (option II) is the mean of the steps less the correction, which
    holds only if every step carries the correction whole.
    """

    def __init__(self, network: AffectNetwork, proximal_mu: float, correction: Weights | None) -> None:
        self._mu = proximal_mu
        self._named = dict(network.named_parameters())
        self._global = (
            {name: value.detach().clone() for name, value in self._named.items()} if self._mu else {}
        )
        self._correction = {
            name: torch.from_numpy(array).to(self._named[name].device)
            for name, array in (correction or {}).items()
        }

    def add(self) -> None:
        """Add µ(w − global w) (Li et al., 2020, eq. 2) and the correction to the gradients."""
        for name, parameter in self._named.items():
            if parameter.grad is None:
                continue
            if self._mu:
                parameter.grad.add_(parameter.detach() - self._global[name], alpha=self._mu)
            if name in self._correction:
                parameter.grad.add_(self._correction[name])
