"""Rules that take the mean of the sites' updates: FedAvg, FedProx, and those with an optimiser at the server.

The mean is a running one, so memory does not grow with the number of sites. What becomes of it is a
:class:`ServerStep`'s affair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import FederationError, UpdateRejectedError
from mien_common.messages import TrainingSettings
from mien_common.weights import Weights

from .names import Weighting
from .rule import Arrays, SiteUpdate, check_fits, in_double, in_single
from .running_mean import RunningMean

Memory = Mapping[str, Arrays]
"""What a server's optimiser remembers, by what it is: momentum, m, v. Empty before the first round."""


class ServerStep(Protocol):
    """From global weights and the mean update to new global weights; a pure function."""

    def __call__(self, weights: Arrays, mean: Arrays, memory: Memory) -> tuple[Arrays, Memory]:
        """New weights, and what to remember for the next round."""
        ...


def take_mean(weights: Arrays, mean: Arrays, memory: Memory) -> tuple[Arrays, Memory]:
    """FedAvg (McMahan et al., 2017, Algorithm 1): w ← w + Σ (nᵢ / n) Δᵢ."""
    return {name: array + mean[name] for name, array in weights.items()}, memory


@dataclass
class _Round:
    """A round that has begun."""

    number: int
    weights: Weights
    mean: RunningMean
    sites: int = 0


class MeanRule:
    """A mean of the updates, and a server's step along it.

    Parameters
    ----------
    step : what the server does with the mean.
    weighting : what a site counts for: its frames, or as much as any other.
    proximal_mu : FedProx (Li et al., 2020, eq. 2): the strength of the sites' proximal term; None leaves
        it as the training settings have it.
    """

    def __init__(
        self,
        step: ServerStep = take_mean,
        weighting: Weighting = "frames",
        proximal_mu: float | None = None,
    ) -> None:
        self._step = step
        self._weighting = weighting
        self._proximal_mu = proximal_mu
        self._memory: Memory = {}
        self._round: _Round | None = None

    @property
    def fewest_sites(self) -> int:
        """One is enough for a mean."""
        return 1

    @property
    def control(self) -> Weights | None:
        """None: sites do not correct their gradients."""
        return None

    def local_settings(self, training: TrainingSettings) -> TrainingSettings:
        """With FedProx's µ, if this is FedProx."""
        if self._proximal_mu is None:
            return training
        return training.model_copy(update={"proximal_mu": self._proximal_mu})

    def begin(self, weights: Weights, round_: int) -> None:
        """See :class:`~mien_server.rules.rule.Rule`, as for the other methods."""
        self._round = _Round(round_, weights, RunningMean(weights))

    def add(self, update: SiteUpdate) -> None:
        """Into the running mean; the update is not kept."""
        begun = self._begun()
        check_fits(update, begun.weights, update.delta)
        if update.frames < 0:
            raise UpdateRejectedError(f"the update of site {update.site} is of {update.frames} frames")
        begun.mean.add(update.delta, update.frames if self._weighting == "frames" else 1)
        begun.sites += 1

    def finish(self) -> Weights:
        """The server's step along the mean."""
        begun = self._begun()
        if not begun.sites:
            raise FederationError(f"round {begun.number}: no site's update to average")
        new, memory = self._step(in_double(begun.weights), begun.mean.mean(), self._memory)
        weights = in_single(new, f"round {begun.number}")
        self._memory, self._round = memory, None
        return weights

    def state(self) -> Arrays:
        """Of the server's optimiser: ``momentum/…``, ``m/…``, ``v/…``."""
        return {
            f"{kind}/{name}": array.copy()
            for kind, arrays in self._memory.items()
            for name, array in arrays.items()
        }

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Into the server's optimiser."""
        memory: dict[str, Arrays] = {}
        for path, array in state.items():
            kind, _, name = path.partition("/")
            memory.setdefault(kind, {})[name] = array.astype(np.float64)
        self._memory = memory

    def _begun(self) -> _Round:
        if self._round is None:
            raise RuntimeError("a round that was not begun")
        return self._round
