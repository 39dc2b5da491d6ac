"""SCAFFOLD at the server (Karimireddy et al., 2020, Algorithm 1).

Enters: the sites' updates with the change of their control variates. Leaves: new global weights and the
server's control variate c, by which the sites correct their gradients in the next round; their side is
``mien_client.scaffold``. Every site counts the same, as in the paper: the corrections cancel only so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import FederationError, SettingsError, UpdateRejectedError
from mien_common.messages import TrainingSettings
from mien_common.weights import Weights

from .rule import Arrays, SiteUpdate, check_fits, in_double, in_single
from .running_mean import RunningMean

_STATE = "control/"


@dataclass
class _Round:
    """A round that has begun."""

    number: int
    weights: Weights
    deltas: RunningMean
    control_deltas: RunningMean
    sites: set[str] = field(default_factory=set)


class Scaffold:
    """x ← x + η_g · mean Δy, c ← c + |S| / N · mean Δc (lines 16 and 17).

    Parameters
    ----------
    learning_rate : η_g, the server's.
    sites : N, how many there are in the federation; None where every round has all of them, which is checked.
    """

    def __init__(self, learning_rate: float = 1.0, sites: int | None = None) -> None:
        self._learning_rate = learning_rate
        self._sites = sites
        self._everybody: set[str] | None = None
        self._control: Arrays | None = None
        self._round: _Round | None = None

    @property
    def fewest_sites(self) -> int:
        """One is enough for a mean."""
        return 1

    @property
    def control(self) -> Weights | None:
        """The server's control variate c; zero in the first round."""
        return None if self._control is None else in_single(self._control, "SCAFFOLD's control variate")

    def local_settings(self, training: TrainingSettings) -> TrainingSettings:
        """Unchanged, if it is plain SGD.

        Raises
        ------
        SettingsError
            It is not; the sites' control variates would not be gradients.
        """
        if training.optimiser != "sgd" or training.momentum:
            raise SettingsError(
                "training.optimiser: SCAFFOLD takes a site's mean gradient from the way that its SGD went. "
                f'It needs optimiser = "sgd" with momentum = 0, not {training.optimiser!r} with '
                f"momentum = {training.momentum:g}. Give these for all methods that are compared."
            )
        return training

    def begin(self, weights: Weights, round_: int) -> None:
        """See :class:`~mien_server.rules.rule.Rule`, as for the other methods."""
        if self._control is None:
            self._control = {name: np.zeros(array.shape) for name, array in weights.items()}
        self._round = _Round(round_, weights, RunningMean(weights), RunningMean(weights))

    def add(self, update: SiteUpdate) -> None:
        """Into the running means; the update is not kept."""
        begun = self._begun()
        check_fits(update, begun.weights, update.delta)
        if update.control_delta is None:
            raise UpdateRejectedError(f"the update of site {update.site} lacks its change of control variate")
        check_fits(update, begun.weights, update.control_delta, "change of control variate")
        begun.deltas.add(update.delta, 1)
        begun.control_deltas.add(update.control_delta, 1)
        begun.sites.add(update.site)

    def finish(self) -> Weights:
        """Both of the server's steps."""
        begun = self._begun()
        if not begun.sites:
            raise FederationError(f"round {begun.number}: no site's update to average")
        everybody = self._count(begun)
        what = f"round {begun.number}"
        delta, control_delta = begun.deltas.mean(), begun.control_deltas.mean()
        new = {
            name: array + self._learning_rate * delta[name]
            for name, array in in_double(begun.weights).items()
        }
        control = {
            name: array + len(begun.sites) / everybody * control_delta[name]
            for name, array in (self._control or {}).items()
        }
        weights = in_single(new, what)
        in_single(control, what)
        self._control, self._everybody, self._round = control, begun.sites, None
        return weights

    def state(self) -> Arrays:
        """c, as ``control/…``."""
        return {f"{_STATE}{name}": array.copy() for name, array in (self._control or {}).items()}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """c."""
        self._control = {name.removeprefix(_STATE): array.astype(np.float64) for name, array in state.items()}

    def _count(self, begun: _Round) -> int:
        """N, of which the sites of a round are a part."""
        if self._sites is None:
            if self._everybody not in (None, begun.sites):
                raise FederationError(
                    f"round {begun.number}: SCAFFOLD must be told how many sites there are, since not all "
                    "take part in every round"
                )
            return len(begun.sites)
        if len(begun.sites) > self._sites:
            raise FederationError(
                f"round {begun.number}: {len(begun.sites)} sites answered in a federation of {self._sites}"
            )
        return self._sites

    def _begun(self) -> _Round:
        if self._round is None:
            raise RuntimeError("a round that was not begun")
        return self._round
