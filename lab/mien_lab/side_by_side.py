"""Many small sites trained side by side: what the deployed ``local_update`` makes of each, in less time.

Enters: global weights, recordings of each site, a seed each. Leaves: an update per site. The sites' weights
are rows of one tensor, ``(sites, numbers)``; each row has windows, a loss, a gradient norm to clip by and an
optimiser's state of its own, and no number of one site enters another's. A site's windows are those that
:class:`mien_client.windows.Windows` cuts for its seed. Sums are taken in another order than a site alone
takes them, so updates equal the deployed ones to rounding; ``tests/lab/test_side_by_side.py`` holds them to
it.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien_client import recurrence
from mien_client.inference import evaluate
from mien_client.rated_recording import Recording
from mien_client.training import LocalUpdate, TrainingResult, local_update
from mien_client.windows import Batch, Windows
from mien_common.architecture import Architecture
from mien_common.ccc import moments
from mien_common.messages import FEWEST_FRAMES, RecordingMoments, TrainingSettings
from mien_common.network import AffectNetwork
from mien_common.schema import AU_V1
from mien_common.weights import Weights

from .side_by_side_gru import SideBySideGru
from .side_by_side_losses import losses_of

_CPU: Final = torch.device("cpu")
_BETAS: Final = (0.9, 0.999)
_LAYER: Final = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def updates_side_by_side(
    weights: Weights,
    architecture: Architecture,
    sites: Sequence[Sequence[Recording]],
    settings: TrainingSettings,
    seeds: Sequence[int],
    rate_hz: float = AU_V1.rate_hz,
) -> list[LocalUpdate]:
    """An update per site, as ``local_update`` would make it with the site's seed, to rounding.

    Memory grows with the sites given; give as many as are quicker together.

    Parameters
    ----------
    sites : each one's recordings, in which some frame counts.
    seeds : one per site.

    Raises
    ------
    SessionError, SettingsError
        As ``local_update`` does.
    """
    counted = [sum(int(recording.counts.sum()) for recording in recordings) for recordings in sites]
    if not suits(architecture, settings) or len(sites) < 2 or not all(counted):
        return [
            local_update(weights, architecture, recordings, settings, seed, _CPU, rate_hz=rate_hz)
            for recordings, seed in zip(sites, seeds, strict=True)
        ]
    length = max(round(settings.window_s * rate_hz), 2)
    batches = [
        _batches(Windows(recordings, length, _CPU), seed, settings)
        for recordings, seed in zip(sites, seeds, strict=True)
    ]
    trained, losses = _train(weights, architecture.layers, batches, settings)
    return [
        LocalUpdate(_difference(row, weights), _result(of_site, frames, settings.local_epochs))
        for row, of_site, frames in zip(trained, losses, counted, strict=True)
    ]


def suits(architecture: Architecture, settings: TrainingSettings) -> bool:
    """Whether such sites can be trained side by side; others are trained one after another."""
    return (
        architecture.kind == "gru"
        and architecture.predicts == "frames"
        and not (architecture.bidirectional or architecture.residual or architecture.input_norm)
        and settings.precision == "float32"
    )


@torch.no_grad()
def moments_side_by_side(
    network: AffectNetwork, recordings: Sequence[Recording]
) -> list[tuple[RecordingMoments, ...]]:
    """Of each recording by itself what the deployed ``evaluate`` says of it, to rounding."""
    if not network.architecture.streams:  # a later frame would change an earlier prediction
        return [evaluate(network, [recording], _CPU) for recording in recordings]
    frames = max(len(recording.counts) for recording in recordings)
    inputs = np.zeros((len(recordings), frames, recordings[0].inputs.shape[1]), np.float32)
    for row, recording in zip(inputs, recordings, strict=True):
        row[: len(recording.inputs)] = recording.inputs
    network.eval()
    predictions = recurrence.forward(network, torch.from_numpy(inputs)).numpy()
    return [
        _sums(prediction[: len(recording.counts)], recording)
        for prediction, recording in zip(predictions, recordings, strict=True)
    ]


def _sums(prediction: NDArray[np.float32], recording: Recording) -> tuple[RecordingMoments, ...]:
    if recording.counts.sum() < FEWEST_FRAMES:
        return ()
    valence, arousal = (
        moments(prediction[:, column], recording.targets[:, column], recording.counts) for column in (0, 1)
    )
    return (RecordingMoments(valence=valence, arousal=arousal),)


_Epoch = int
_Losses = list[tuple[_Epoch, float]]
"""Of one site, step by step."""


def _batches(windows: Windows, seed: int, settings: TrainingSettings) -> Iterator[tuple[_Epoch, Batch]]:
    """All batches of a site's training, one after another."""
    generator = np.random.default_rng(seed)
    for epoch in range(1, settings.local_epochs + 1):
        yield from zip(repeat(epoch), windows.epoch(generator, settings.batch_windows))


def _train(
    weights: Weights,
    layers: int,
    batches: Sequence[Iterator[tuple[_Epoch, Batch]]],
    settings: TrainingSettings,
) -> tuple[Tensor, list[_Losses]]:
    """(sites, numbers) trained weights, and each site's losses; a site without more batches is put aside."""
    start = torch.cat([torch.from_numpy(array).reshape(-1) for array in weights.values()])
    trained = start.repeat(len(batches), 1)
    losses: list[_Losses] = [[] for _ in batches]
    rows = _Rows(trained, settings)
    busy = list(range(len(batches)))
    while True:
        following = [next(batches[site], None) for site in busy]
        left = [place for place, step in enumerate(following) if step is not None]
        if len(left) < len(busy):
            trained[busy] = rows.weights.detach()
            if not left:
                return trained, losses
            rows.keep(left)
            busy = [busy[place] for place in left]
        steps = [step for step in following if step is not None]
        batch = _side_by_side([batch for _, batch in steps])
        of_sites = _losses(rows.weights, weights, layers, batch, settings.mse_share)
        rows.step(of_sites, start)
        for site, (epoch, _), loss in zip(busy, steps, of_sites.tolist(), strict=True):
            losses[site].append((epoch, loss))


class _Rows:
    """Sites' weights, one row each, and their optimisers, whose arithmetic is element by element.

    As :mod:`torch.optim` does it, which would first import a compiler: seconds and memory in every process.
    """

    def __init__(self, weights: Tensor, settings: TrainingSettings) -> None:
        self._settings = settings
        self.weights = weights.clone().requires_grad_()
        self._steps = 0
        self._mean, self._square = torch.zeros_like(weights), torch.zeros_like(weights)

    def step(self, losses: Tensor, start: Tensor) -> None:
        """One step of every site on its own loss: clipped by its own norm, pulled to the global weights."""
        settings, weights = self._settings, self.weights.detach()  # the same memory
        (gradient,) = torch.autograd.grad(losses.sum(), [self.weights])
        # As torch.nn.utils.clip_grad_norm_ does it.
        norms = gradient.norm(dim=1, keepdim=True)
        gradient.mul_((settings.clip_gradient_norm / (norms + 1e-6)).clamp(max=1.0))
        if settings.proximal_mu:  # Li et al., 2020, eq. 2
            gradient.add_(weights - start, alpha=settings.proximal_mu)
        if settings.optimiser == "adamw":  # Loshchilov & Hutter, 2019, algorithm 2
            weights.mul_(1.0 - settings.learning_rate * settings.weight_decay)
        else:
            gradient.add_(weights, alpha=settings.weight_decay)
        self._steps += 1
        if settings.optimiser == "sgd":
            self._mean.mul_(settings.momentum).add_(gradient)
            weights.sub_(self._mean, alpha=settings.learning_rate)
        else:
            weights.sub_(self._adam(gradient))

    def _adam(self, gradient: Tensor) -> Tensor:
        """Kingma & Ba, 2015, algorithm 1."""
        (of_mean, of_square), tiny = _BETAS, 1e-8
        self._mean.lerp_(gradient, 1.0 - of_mean)
        self._square.mul_(of_square).addcmul_(gradient, gradient, value=1.0 - of_square)
        deviation = self._square.sqrt().div_(math.sqrt(1.0 - of_square**self._steps)).add_(tiny)
        return self._mean.div(deviation).mul_(self._settings.learning_rate / (1.0 - of_mean**self._steps))

    def keep(self, places: list[int]) -> None:
        """Go on with some of the sites only."""
        self.weights = self.weights.detach()[places].requires_grad_()
        self._mean, self._square = self._mean[places], self._square[places]


def _side_by_side(batches: Sequence[Batch]) -> Batch:
    """(sites, windows, frames, …), with windows of nothing, which do not count, where a site has fewer."""
    windows = max(len(batch.counts) for batch in batches)

    def stacked(pieces: Sequence[Tensor]) -> Tensor:
        out = pieces[0].new_zeros(len(pieces), windows, *pieces[0].shape[1:])
        for row, piece in zip(out, pieces, strict=True):
            row[: len(piece)] = piece
        return out

    return Batch(
        stacked([batch.inputs for batch in batches]),
        stacked([batch.targets for batch in batches]),
        stacked([batch.counts for batch in batches]),
    )


def _losses(rows: Tensor, shapes: Weights, layers: int, batch: Batch, mse_share: float) -> Tensor:
    """(sites,) each one's loss on its windows, by its own row of weights."""
    pieces = torch.split(rows, [array.size for array in shapes.values()], dim=1)
    named = {
        name: piece.view(len(rows), *array.shape)
        for (name, array), piece in zip(shapes.items(), pieces, strict=True)
    }
    hidden = batch.inputs
    for layer in range(layers):
        own = (named[f"recurrence.{name}_l{layer}"] for name in _LAYER)
        hidden = SideBySideGru.apply(hidden, *own)  # type: ignore[no-untyped-call]  # as in the client
    sums = torch.baddbmm(named["head.bias"][:, None], hidden.flatten(1, 2), named["head.weight"].mT)
    prediction = torch.tanh(sums).view(batch.targets.shape)
    return losses_of(prediction, batch.targets, batch.counts, mse_share)


def _difference(row: Tensor, weights: Weights) -> Weights:
    sizes = [array.size for array in weights.values()]
    return {
        name: piece.reshape(array.shape) - array
        for (name, array), piece in zip(
            weights.items(), np.split(row.numpy(), np.cumsum(sizes)[:-1]), strict=True
        )
    }


def _result(losses: _Losses, frames: int, epochs: int) -> TrainingResult:
    last = [loss for epoch, loss in losses if epoch == epochs]
    return TrainingResult(float(np.mean(last)), frames, len(losses))
