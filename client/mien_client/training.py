"""Local training: windows of this site's recordings through the network.

Enters: recordings of this site and the global weights. Leaves (to :mod:`mien_client.client_app`): new
weights and a loss. Never leaves: features, ratings, predictions, the site's statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from mien_common.architecture import Architecture
from mien_common.errors import SessionError
from mien_common.messages import TrainingSettings
from mien_common.network import AffectNetwork
from mien_common.schema import AU_V1
from mien_common.weights import Weights, network_from, weights_of

from .losses import loss_of
from .rated_recording import Recording


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

    Each epoch cuts every recording into windows from a random start, in random order. The same seed
    gives the same windows, and on one CPU thread the same weights.

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
    """
    frames = sum(int(recording.counts.sum()) for recording in recordings)
    if not frames:
        raise SessionError("no frame of this site's training sessions is both valid and rated.")
    generator = np.random.default_rng(seed)
    network.to(device).train()
    optimiser = _optimiser(network, settings)
    pull = _Pull(network, settings.proximal_mu, correction)
    steps, mean_loss = 0, float("nan")
    for epoch in range(1, settings.local_epochs + 1):
        losses: list[float] = []
        for inputs, targets, counts in _batches(
            recordings, settings, generator, rate_hz, network.architecture.predicts
        ):
            optimiser.zero_grad(set_to_none=True)
            prediction = network(inputs.to(device))
            if prediction.ndim == 2:  # a pair per window: the batch is one trace of windows
                prediction = prediction[None]
            loss = loss_of(prediction, targets.to(device), counts.to(device), settings.mse_share)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            pull.add()
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_gradient_norm)
            optimiser.step()
            losses.append(float(loss.detach()))
        steps, mean_loss = steps + len(losses), float(np.mean(losses))
        network.eval()
        if after_epoch is not None and after_epoch(epoch, mean_loss):
            break
        network.train()
    network.eval()
    return TrainingResult(mean_loss, frames, steps)


def _optimiser(network: AffectNetwork, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba, 2015), AdamW (Loshchilov & Hutter, 2019) or SGD."""
    parameters, rate, decay = network.parameters(), settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay)


class _Pull:
    """What federated rules add to a site's gradients, so that it does not drift from the others."""

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
        """Add µ(w − global w) and the correction to the gradients."""
        for name, parameter in self._named.items():
            if parameter.grad is None:
                continue
            if self._mu:
                parameter.grad.add_(parameter.detach() - self._global[name], alpha=self._mu)
            if name in self._correction:
                parameter.grad.add_(self._correction[name])


def _batches(
    recordings: Sequence[Recording],
    settings: TrainingSettings,
    generator: np.random.Generator,
    rate_hz: float,
    predicts: Literal["frames", "window"],
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Inputs (windows, frames, channels); targets and mask: (windows, frames, 2) and (windows, frames), or
    (1, windows, 2) and (1, windows) of the windows' means where a window has one pair."""
    length = max(round(settings.window_s * rate_hz), 2)
    windows = [
        window
        for recording in recordings
        for window in _windows(recording, length, int(generator.integers(length)))
        if window.counts.any()
    ]
    order = generator.permutation(len(windows))
    size = settings.batch_windows
    chunks = [
        [windows[index] for index in order[start : start + size]] for start in range(0, len(order), size)
    ]
    return [_batch(chunk, predicts) for chunk in chunks]


def _batch(windows: list[Recording], predicts: Literal["frames", "window"]) -> tuple[Tensor, Tensor, Tensor]:
    inputs = np.stack([window.inputs for window in windows])
    targets = np.stack([window.targets for window in windows])
    counts = np.stack([window.counts for window in windows])
    if predicts == "window":
        frames = counts.sum(axis=1, keepdims=True)
        targets = (targets.sum(axis=1, where=counts[..., None]) / frames).astype(np.float32)[None]
        counts = np.ones((1, len(windows)), bool)
    return torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(counts)


def _windows(recording: Recording, length: int, offset: int) -> list[Recording]:
    """Windows of one length over the whole recording; padding at its ends does not count."""
    padded = length - offset
    tail = -(len(recording.counts) + padded) % length
    inputs = np.pad(recording.inputs, ((padded, tail), (0, 0)))
    targets = np.pad(recording.targets, ((padded, tail), (0, 0)))
    counts = np.pad(recording.counts, (padded, tail))
    return [
        Recording(
            inputs[start : start + length], targets[start : start + length], counts[start : start + length]
        )
        for start in range(0, len(counts), length)
    ]
