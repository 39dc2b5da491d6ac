"""Simulated sites visited block by block: trained, or tried on.

Enters: what all sites share, and an order with global weights and the sites to visit, in blocks. Leaves: an
answer per site, in the order asked, a block's when the first of them is wanted. A block's sites are computed
side by side in the same tensors, and only one block's data exist at a time, but for a few megabytes that are
kept for the next round. Which sites make a block depends on the sites asked and on nothing else, so that sums
are the same to the last bit whoever computes them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from mien_client.client_app import window_seed
from mien_client.rated_recording import Recording
from mien_common.architecture import Architecture
from mien_common.messages import RecordingMoments, TrainingSettings
from mien_common.schema import AU_V1
from mien_common.weights import Weights, network_from

from .recent_recordings import RecentRecordings
from .side_by_side import moments_side_by_side, updates_side_by_side
from .simulated_site import SimulatedSite, number_of

Block = tuple[str, ...]
"""Sites computed side by side."""

_MOST_SITES: Final = 25
"""More are no faster together."""
_KEPT_FRAMES: Final = 20_000
"""Of recordings made last: 3.4 MB, some fifty recordings of 12 s with the raters' lag."""
_FEWEST_BLOCKS: Final = 2
"""So that few sites, too, are work for two cores."""
_MOST_FRAMES: Final = 40_000
"""Of a block's recordings, on average: some ten megabytes of them."""

_recent: Final = RecentRecordings(_KEPT_FRAMES)
"""Of this process."""


@dataclass(frozen=True)
class Shared:
    """What is the same for all sites and rounds."""

    seed: int
    seconds: float
    architecture: Architecture
    training: TrainingSettings


@dataclass(frozen=True)
class TrainOrder:
    """Train each site on ``weights``."""

    round: int
    weights: Weights
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class ValidateOrder:
    """Try ``weights`` at each site."""

    weights: Weights
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Trained:
    """A site's answer to being asked to train."""

    site: str
    delta: Weights | None
    """None where no frame of the site counts."""
    frames: int
    loss: float
    peak_mb: float
    """Largest resident set so far of the process it was trained in."""


@dataclass(frozen=True)
class Validated:
    """A site's answer to being asked to try weights."""

    site: str
    moments: tuple[RecordingMoments, ...]
    peak_mb: float


def blocks_of(sites: Sequence[str], seconds: float) -> tuple[Block, ...]:
    """The sites, with recordings of ``seconds`` on average, in blocks as equal as can be."""
    fits = int(min(max(_MOST_FRAMES / (seconds * AU_V1.rate_hz), 1), _MOST_SITES))
    count = min(max(-(-len(sites) // fits), _FEWEST_BLOCKS), len(sites))
    cuts = [len(sites) * number // max(count, 1) for number in range(count + 1)]
    return tuple(tuple(sites[first:end]) for first, end in pairwise(cuts))


def train_sites(shared: Shared, order: TrainOrder) -> Iterator[Trained]:
    """Each block's data are made, trained on as the deployed agents would, and dropped."""
    for block in order.blocks:
        recordings = {site: _training(shared, site) for site in block}
        # Some people are out of sight all the time.
        seen = [site for site in block if recordings[site].counts.any()]
        made = updates_side_by_side(
            order.weights,
            shared.architecture,
            [[recordings[site]] for site in seen],
            shared.training,
            [window_seed(shared.seed, order.round, site) for site in seen],
        )
        updates, peak = dict(zip(seen, made, strict=True)), peak_mb()
        for site in block:
            if site in updates:
                update = updates[site]
                yield Trained(site, update.delta, update.result.frames, update.result.loss, peak)
            else:
                yield Trained(site, None, 0, 0.0, peak)


def validate_sites(shared: Shared, order: ValidateOrder) -> Iterator[Validated]:
    """Each site's sums over its validation recording, as a deployed site would send them."""
    network = network_from(order.weights, shared.architecture)
    for block in order.blocks:
        recordings = [_validation(shared, site) for site in block]
        moments, peak = moments_side_by_side(network, recordings), peak_mb()
        for site, sums in zip(block, moments, strict=True):
            yield Validated(site, sums, peak)


def _training(shared: Shared, name: str) -> Recording:
    site = SimulatedSite(shared.seed, number_of(name), shared.seconds)
    return _recent.get((site, "training"), site.training)


def _validation(shared: Shared, name: str) -> Recording:
    site = SimulatedSite(shared.seed, number_of(name), shared.seconds)
    return _recent.get((site, "validation"), site.validation)


def peak_mb() -> float:
    """This process's largest resident set so far, in MB; NaN where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak) * 1024 / 1e6
