"""Simulated sites visited one after another: trained, or tried on.

Enters: what all sites share, and an order with global weights and the sites to visit. Leaves: an answer per
site, in the order asked, each made when it is wanted.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from mien_client.client_app import window_seed
from mien_client.inference import evaluate
from mien_client.training import local_update
from mien_common.architecture import Architecture
from mien_common.messages import RecordingMoments, TrainingSettings
from mien_common.weights import Weights, network_from

from .simulated_site import SimulatedSite, number_of


@dataclass(frozen=True)
class Shared:
    """What is the same for all sites and rounds."""

    seed: int
    seconds: float
    architecture: Architecture
    training: TrainingSettings


@dataclass(frozen=True)
class TrainOrder:
    """Train each of ``sites`` on ``weights``."""

    round: int
    weights: Weights
    sites: tuple[str, ...]


@dataclass(frozen=True)
class ValidateOrder:
    """Try ``weights`` at each of ``sites``."""

    weights: Weights
    sites: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """A site's answer to being asked to train."""

    site: str
    delta: Weights | None
    """None where no frame of the site counts."""
    frames: int
    loss: float
    seconds: float
    """Of making its data and training."""
    peak_mb: float
    """Largest resident set so far of the process it was trained in."""


@dataclass(frozen=True)
class Validated:
    """A site's answer to being asked to try weights."""

    site: str
    moments: tuple[RecordingMoments, ...]
    peak_mb: float


def train_sites(shared: Shared, order: TrainOrder) -> Iterator[Trained]:
    """Each site's data are made, trained on by the deployed agent's own function, and dropped."""
    for site in order.sites:
        began = time.monotonic()
        recording = SimulatedSite(shared.seed, number_of(site), shared.seconds).training()
        if not recording.counts.any():  # the person was out of sight all the time
            yield Trained(site, None, 0, 0.0, time.monotonic() - began, peak_mb())
            continue
        update = local_update(
            order.weights,
            shared.architecture,
            [recording],
            shared.training,
            window_seed(shared.seed, order.round, site),
            torch.device("cpu"),
        )
        result, seconds = update.result, time.monotonic() - began
        yield Trained(site, update.delta, result.frames, result.loss, seconds, peak_mb())


def validate_sites(shared: Shared, order: ValidateOrder) -> Iterator[Validated]:
    """Each site's sums over its validation recording, as a deployed site would send them."""
    network = network_from(order.weights, shared.architecture)
    for site in order.sites:
        recording = SimulatedSite(shared.seed, number_of(site), shared.seconds).validation()
        yield Validated(site, evaluate(network, [recording], torch.device("cpu")), peak_mb())


def peak_mb() -> float:
    """This process's largest resident set so far, in MB; NaN where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak) * 1024 / 1e6
