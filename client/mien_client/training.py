"""Local training and evaluation: windows of this site's recordings through the network.

Enters: sessions of this site and the global weights. Leaves (to :mod:`mien_client.client_app`): new
weights and sums. Never leaves: features, ratings, predictions, the site's statistics.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien_common.ccc import moments
from mien_common.errors import SessionError, SettingsError
from mien_common.messages import FEWEST_FRAMES, RecordingMoments, TrainingSettings
from mien_common.network import AffectNetwork
from mien_common.schema import AU_V1

from .features import MODEL_CHANNELS, Features
from .sessions import Session

SMALLEST_DEVIATION = 1e-4
"""A channel that hardly varies at a site carries nothing there and is not blown up to unit variance."""


@dataclass(frozen=True)
class Scaler:
    """Per-channel standardisation with a site's own training statistics."""

    mean: NDArray[np.float32]
    """(channels,)"""
    deviation: NDArray[np.float32]
    """(channels,) standard deviation; 1 where a channel hardly varies."""

    def apply(self, features: Features) -> NDArray[np.float32]:
        """(frames, channels) standardised; 0, the channel's mean, where a channel is missing or left out.

        The recurrence needs some number there; the mask keeps frames that are not valid out of loss
        and metric.
        """
        known = np.isfinite(features.values) & MODEL_CHANNELS
        scaled = (features.values - self.mean) / self.deviation
        return np.where(known, scaled, np.float32(0.0)).astype(np.float32)


def fit_scaler(recordings: Sequence[Features]) -> Scaler:
    """Mean and standard deviation of each channel over the frames of ``recordings`` in which it is known.

    A frame that misses one channel still tells of the others. A channel that is never known is never
    given to the network either; its mean is 0.

    Raises
    ------
    SessionError
        No frame is valid.
    """
    if not any(features.valid.any() for features in recordings):
        raise SessionError(
            "no training session of this site holds a frame with a face. Ingest another video."
        )
    known = [np.isfinite(features.values) for features in recordings]
    frames = np.maximum(np.sum([mask.sum(axis=0) for mask in known], axis=0), 1)

    def mean_of(function: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> NDArray[np.float64]:
        sums = [
            function(features.values).sum(axis=0, where=mask, dtype=np.float64)
            for features, mask in zip(recordings, known, strict=True)
        ]
        return np.asarray(np.sum(sums, axis=0) / frames)

    mean = mean_of(lambda values: values)
    deviation = np.sqrt(mean_of(lambda values: np.square(values - mean)))
    return Scaler(
        mean.astype(np.float32),
        np.where(deviation < SMALLEST_DEVIATION, 1.0, deviation).astype(np.float32),
    )


@dataclass(frozen=True)
class Recording:
    """One session, ready for the network."""

    inputs: NDArray[np.float32]
    """(frames, channels) standardised."""
    targets: NDArray[np.float32]
    """(frames, 2) ratings moved back by the lag; 0 where they do not count."""
    counts: NDArray[np.bool_]
    """(frames,) the face is valid and the frame is rated."""


def recording_of(session: Session, scaler: Scaler, lag_s: float) -> Recording:
    """A rated session with its ratings moved back by ``lag_s``: what the face did, not when it was rated.

    Raises
    ------
    SessionError
        The session has no ratings.
    """
    if session.ratings is None:
        raise SessionError(f"session {session.record.id} has no ratings. Ingest it again with --ratings.")
    targets = without_lag(session.ratings, lag_s)
    counts = session.features.valid & np.isfinite(targets).all(axis=1)
    return Recording(
        inputs=scaler.apply(session.features),
        targets=np.where(counts[:, None], targets, np.float32(0.0)).astype(np.float32),
        counts=counts,
    )


def without_lag(ratings: NDArray[np.float32], lag_s: float) -> NDArray[np.float32]:
    """(frames, 2) ratings moved ``lag_s`` earlier; NaN at the end, whose ratings were never given."""
    shift = round(lag_s * AU_V1.rate_hz)
    earlier = np.full_like(ratings, np.nan)
    earlier[: max(len(ratings) - shift, 0)] = ratings[shift:]
    return earlier


def choose_device(wanted: str) -> torch.device:
    """The device to train on: CUDA where there is one, else the CPU.

    Raises
    ------
    SettingsError
        CUDA is demanded and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError("the site asks for CUDA and there is no usable GPU. Set device to auto or cpu.")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # cuDNN's and cuBLAS's default algorithms may sum in another order from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda")


def ccc_loss(prediction: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """1 − CCC (Lin, 1989), averaged over valence and arousal, over all frames of the batch that count.

    Parameters
    ----------
    prediction, target : (batch, frames, 2)
    counts : (batch, frames) bool

    Returns
    -------
    Scalar; 1 where nothing correlates, 0 where the traces are equal. NaN when no frame counts.
    """
    weight = counts.unsqueeze(-1).to(prediction.dtype)
    total = weight.sum()
    mean_x = (prediction * weight).sum((0, 1)) / total
    mean_y = (target * weight).sum((0, 1)) / total
    away_x, away_y = (prediction - mean_x) * weight, (target - mean_y) * weight
    spread = (away_x.square() + away_y.square()).sum((0, 1)) / total + (mean_x - mean_y).square()
    covariance = (away_x * away_y).sum((0, 1)) / total
    return 1 - (2 * covariance / (spread + 1e-8)).mean()


@dataclass(frozen=True)
class TrainingResult:
    """What a round of local training gave."""

    loss: float
    """Mean over the last epoch's batches."""
    frames: int
    """Frames that counted."""


def train(
    network: AffectNetwork,
    recordings: Sequence[Recording],
    settings: TrainingSettings,
    seed: int,
    device: torch.device,
) -> TrainingResult:
    """Train ``network`` in place with Adam (Kingma & Ba, 2015) on random windows of ``recordings``.

    Each epoch cuts every recording into windows from a random start, in random order. The same seed
    gives the same windows, and on one CPU thread the same weights.

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
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    losses: list[float] = []
    for _ in range(settings.local_epochs):
        losses = []
        for inputs, targets, counts in _batches(recordings, settings, generator):
            optimiser.zero_grad(set_to_none=True)
            loss = ccc_loss(network(inputs.to(device)), targets.to(device), counts.to(device))
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_gradient_norm)
            optimiser.step()
            losses.append(float(loss.detach()))
    network.eval()
    return TrainingResult(loss=float(np.mean(losses)), frames=frames)


@torch.no_grad()
def predict(network: AffectNetwork, inputs: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """(frames, 2) valence and arousal for (frames, channels) standardised features."""
    network.to(device).eval()
    prediction: NDArray[np.float32] = network(torch.from_numpy(inputs)[None].to(device))[0].cpu().numpy()
    return prediction


def evaluate(
    network: AffectNetwork, recordings: Sequence[Recording], device: torch.device
) -> tuple[RecordingMoments, ...]:
    """Sufficient statistics of the predictions on each recording; nothing per frame."""
    results = []
    for recording in recordings:
        if recording.counts.sum() < FEWEST_FRAMES:
            continue
        prediction = predict(network, recording.inputs, device)
        valence, arousal = (
            moments(prediction[:, column], recording.targets[:, column], recording.counts)
            for column in (0, 1)
        )
        results.append(RecordingMoments(valence=valence, arousal=arousal))
    return tuple(results)


def _batches(
    recordings: Sequence[Recording], settings: TrainingSettings, generator: np.random.Generator
) -> list[tuple[Tensor, Tensor, Tensor]]:
    length = max(round(settings.window_s * AU_V1.rate_hz), 2)
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
    return [
        (
            torch.from_numpy(np.stack([window.inputs for window in chunk])),
            torch.from_numpy(np.stack([window.targets for window in chunk])),
            torch.from_numpy(np.stack([window.counts for window in chunk])),
        )
        for chunk in chunks
    ]


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
