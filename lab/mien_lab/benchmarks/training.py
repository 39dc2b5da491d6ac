"""Benchmark: local training as it is deployed, against PyTorch as Flower's quickstart writes it.

Both train the same network from the same weights on the same windows in the same order, 32 at a time, with
the same loss and Adam, and must end at the same loss. The peer is a ``DataLoader`` over windows that were
cut beforehand, and PyTorch's own layers; ours cuts its windows in the time that is measured.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien_client.device import choose_device
from mien_client.losses import ccc_loss
from mien_client.rated_recording import Recording
from mien_client.training import train
from mien_client.windows import Batch, Windows
from mien_common.architecture import Architecture
from mien_common.messages import TrainingSettings
from mien_common.network import AffectNetwork, build
from mien_common.schema import AU_V1
from mien_lab.benchmarks.figures import Figure, Say, figure

SETTINGS: Final = TrainingSettings(
    local_epochs=2,
    batch_windows=32,
    clip_gradient_norm=1e9,  # never reached: the quickstart does not clip
)
RECORDINGS: Final = 4
GPU_RECORDINGS: Final = 64
GPU_BATCHES: Final = (32, 128, 512)
SECONDS: Final = 300.0
TURNS: Final = 5
GOAL: Final = 2.0
GPU_GOAL: Final = 50.0
LOSS_AGREES: Final = 1e-3
ROUNDING: Final = 1e-6
"""Two losses are never said to agree better than single precision tells."""
SEED: Final = 7
CPU: Final = torch.device("cpu")
OTHERS: Final = {
    "RNN": Architecture(kind="rnn"),
    "LSTM": Architecture(kind="lstm"),
    "bidirectional GRU": Architecture(bidirectional=True),
    "residual GRU": Architecture(residual=True),
}


@dataclass(frozen=True)
class Trained:
    """A training's speed and where it ended."""

    frames_per_s: float
    loss: float

    def better(self, other: "Trained | None") -> "Trained":
        """The faster of the two."""
        return self if other is None or self.frames_per_s > other.frames_per_s else other


def training_speed(_folder: Path, say: Say) -> tuple[Figure, ...]:
    """Frames/s of each at the thread count that suits it better, best of some turns; then on a GPU."""
    threads = torch.get_num_threads()
    recordings = made_up(RECORDINGS)
    try:
        ours, peer = _compared(Architecture(), recordings, sorted({1, threads}), TURNS, say)
        for name, architecture in OTHERS.items():
            _compared(architecture, recordings, [1], 2, lambda line, name=name: say(f"{line} ({name})"))  # type: ignore[misc]
    finally:
        torch.set_num_threads(threads)
    apart = max(abs(ours.loss - peer.loss) / peer.loss, ROUNDING)
    found = [
        figure(
            "training-speed",
            ours.frames_per_s,
            "frames/s",
            "a plain PyTorch loop at its better thread count",
            peer.frames_per_s,
            GOAL,
            "higher",
        ),
        figure("training-loss", apart, "of the plain loop's loss", "allowed", LOSS_AGREES, 1.0, "lower"),
    ]
    if not torch.cuda.is_available():
        say("  no GPU here: not measured")
        return tuple(found)
    return *found, _gpu(ours.frames_per_s, say)


def made_up(count: int) -> list[Recording]:
    """Recordings in which two channels drive the ratings."""
    made = []
    for seed in range(count):
        generator = np.random.default_rng(seed)
        inputs = generator.normal(size=(round(SECONDS * AU_V1.rate_hz), 40)).astype(np.float32)
        inputs[:, :2] = np.cumsum(inputs[:, :2], axis=0) / 10
        targets = np.tanh(inputs[:, :2]).astype(np.float32)
        made.append(Recording(inputs, targets, generator.random(len(inputs)) < 0.9))
    return made


def _compared(
    architecture: Architecture, recordings: list[Recording], threads: list[int], turns: int, say: Say
) -> tuple[Trained, Trained]:
    """Ours and the peer's best; turn about, so that other work on the machine meets both."""
    epochs = _windows(recordings)
    best: dict[tuple[str, int], Trained] = {}
    for _ in range(turns):
        for count in threads:
            torch.set_num_threads(count)
            tried: dict[str, Callable[[], Trained]] = {
                "ours": lambda: _ours(architecture, recordings, _frames(epochs), SETTINGS, CPU),
                "peer": lambda: _plain(build(architecture, SEED), epochs),
            }
            for name, run in tried.items():
                best[name, count] = run().better(best.get((name, count)))
    for count in threads:
        ours, peer = best["ours", count], best["peer", count]
        say(
            f"  {count} thread{'s' if count > 1 else ''}: {ours.frames_per_s:,.0f} frames/s, plain loop "
            f"{peer.frames_per_s:,.0f}: {ours.frames_per_s / peer.frames_per_s:.2f} times; "
            f"losses {ours.loss:.6f} and {peer.loss:.6f}"
        )
    fastest = [max((best[name, count] for count in threads), key=_speed) for name in ("ours", "peer")]
    return fastest[0], fastest[1]


def _speed(trained: Trained) -> float:
    return trained.frames_per_s


def _ours(
    architecture: Architecture,
    recordings: list[Recording],
    frames: int,
    settings: TrainingSettings,
    device: torch.device,
) -> Trained:
    network = build(architecture, SEED).to(device)
    started = time.perf_counter()
    result = train(network, recordings, settings, SEED, device)
    seconds = time.perf_counter() - started
    return Trained(frames / seconds, result.loss)


def _windows(recordings: list[Recording]) -> list["_WindowSet"]:
    """What ours cuts in each epoch, in its order."""
    windows = Windows(recordings, round(SETTINGS.window_s * AU_V1.rate_hz), CPU)
    generator = np.random.default_rng(SEED)
    return [
        _WindowSet(list(windows.epoch(generator, SETTINGS.batch_windows)))
        for _ in range(SETTINGS.local_epochs)
    ]


class _WindowSet(Dataset[dict[str, Tensor]]):
    """Windows as a quickstart's data set: one dictionary each."""

    def __init__(self, batches: list[Batch]) -> None:
        self._inputs = torch.cat([batch.inputs for batch in batches])
        self._targets = torch.cat([batch.targets for batch in batches])
        self._counts = torch.cat([batch.counts for batch in batches])

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"inputs": self._inputs[index], "targets": self._targets[index], "counts": self._counts[index]}


def _plain(network: AffectNetwork, epochs: list[_WindowSet]) -> Trained:
    """As ``train`` in the ``task.py`` of Flower's PyTorch quickstart."""
    started = time.perf_counter()
    optimizer = torch.optim.Adam(network.parameters(), lr=SETTINGS.learning_rate)
    network.train()
    mean_loss = float("nan")
    for windows in epochs:
        loader = DataLoader(windows, batch_size=SETTINGS.batch_windows)
        running_loss = 0.0
        for batch in loader:
            inputs, targets, counts = (batch[name].to(CPU) for name in ("inputs", "targets", "counts"))
            optimizer.zero_grad()
            loss = ccc_loss(network(inputs), targets, counts)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            optimizer.step()
            running_loss += loss.item()
        mean_loss = running_loss / len(loader)
    seconds = time.perf_counter() - started
    return Trained(_frames(epochs) / seconds, mean_loss)


def _frames(epochs: list[_WindowSet]) -> int:
    """Frames that go through the network, those that pad a recording's first and last window too."""
    return sum(len(windows) for windows in epochs) * round(SETTINGS.window_s * AU_V1.rate_hz)


def _gpu(cpu_frames_per_s: float, say: Say) -> Figure:
    """The best batch of a few, on more recordings: a GPU wants to be filled."""
    recordings, device = made_up(GPU_RECORDINGS), choose_device("cuda")
    frames = _frames(_windows(recordings))
    best: Trained | None = None
    for size in GPU_BATCHES:
        settings = SETTINGS.model_copy(update={"batch_windows": size})
        _ours(Architecture(), recordings, frames, settings, device)  # the first one also loads cuDNN
        trained = _ours(Architecture(), recordings, frames, settings, device)
        say(f"  GPU, batch {size}: {trained.frames_per_s:,.0f} frames/s")
        best = trained.better(best)
    assert best is not None  # noqa: S101  # there are batches to try
    return figure(
        "training-speed-gpu",
        best.frames_per_s,
        "frames/s",
        "ours on the CPU",
        cpu_frames_per_s,
        GPU_GOAL,
        "higher",
    )
