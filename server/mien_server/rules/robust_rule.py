"""Rules that hold out against some hostile sites: they look at all updates of a round together.

Enters: the sites' updates, each counting the same whatever its frames, or a hostile site would only have to
claim more. Leaves: new global weights. Memory grows with the number of sites; there is no way around it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.serverapp.strategy import FedMedian, FedTrimmedAvg, Krum, MultiKrum
from numpy.typing import NDArray

from mien_common.errors import FederationError
from mien_common.messages import TrainingSettings
from mien_common.weights import Weights

from .bulyan import bulyan_of
from .flower import combined
from .rule import Arrays, SiteUpdate, check_fits, in_double, in_single

_ROUNDING = 1e-9
"""A share of sites is meant as a fraction: 0.29 of 100 is 29, though 0.29 · 100 is a little less."""


@dataclass(frozen=True)
class Combination:
    """A way of combining all updates of a round."""

    name: str
    """As it is told to people, with the number that it was given."""
    combine: Callable[[Sequence[Weights]], Arrays]
    """From the sites' updates to how far the global weights move."""
    fewest_sites: int
    advice: str
    """What to do where there are fewer."""


def median() -> Combination:
    """Coordinate-wise median (Yin et al., 2018, Definition 1); Flower's.

    Of one or two updates it is the mean, so it takes three.
    """
    return Combination(
        "the median", lambda updates: combined(FedMedian(), updates), 3, "Take the mean (fedavg)"
    )


def trimmed_mean(share: float) -> Combination:
    """Coordinate-wise trimmed mean (Yin et al., 2018, Definition 2): ⌊βn⌋ left out at each end; Flower's.

    It takes so many sites that at least one is left out, or it would be the mean.
    """

    def combine(updates: Sequence[Weights]) -> Arrays:
        trimmed = math.floor(share * len(updates) + _ROUNDING)
        # Flower cuts int(β · sites); a β amid those that give `trimmed` says it without rounding.
        return combined(FedTrimmedAvg(beta=(trimmed + 0.25) / len(updates)), updates)

    fewest = math.ceil(1 / share - _ROUNDING) if share else 1
    return Combination(
        f"the trimmed mean with a share of {share:g} left out at each end",
        combine,
        fewest,
        "Leave out a larger share",
    )


def krum(hostile: int) -> Combination:
    """Krum (Blanchard et al., 2017, section 4): the update closest to its n − f − 2 neighbours; Flower's."""
    return Combination(
        f"krum against {_sites(hostile)}",
        lambda updates: combined(Krum(num_malicious_nodes=hostile), updates),
        2 * hostile + 3,
        "Allow for fewer hostile sites",
    )


def multi_krum(hostile: int, selected: int | None) -> Combination:
    """Multi-Krum (Blanchard et al., 2017, section 4): the mean of the m best by Krum's score; Flower's.

    Parameters
    ----------
    selected : m; n − f when None. With more, a hostile site would always be among them.
    """

    def combine(updates: Sequence[Weights]) -> Arrays:
        count = selected or len(updates) - hostile
        return combined(MultiKrum(num_malicious_nodes=hostile, num_nodes_to_select=count), updates)

    chosen = f", {selected} averaged" if selected else ""
    return Combination(
        f"multi-krum against {_sites(hostile)}{chosen}",
        combine,
        max(2 * hostile + 3, (selected or 0) + hostile),
        "Allow for fewer hostile sites" + (" or average fewer" if selected else ""),
    )


def bulyan(hostile: int) -> Combination:
    """Bulyan (El Mhamdi et al., 2018): repeated Krum, then close to the median; see :mod:`.bulyan`."""
    return Combination(
        f"bulyan against {_sites(hostile)}",
        lambda updates: bulyan_of(updates, hostile),
        4 * hostile + 3,
        "Allow for fewer hostile sites",
    )


def _sites(hostile: int) -> str:
    return "1 hostile site" if hostile == 1 else f"{hostile} hostile sites"


@dataclass
class _Round:
    """A round that has begun."""

    number: int
    weights: Weights
    sites: list[str] = field(default_factory=list)
    updates: list[Weights] = field(default_factory=list)


class RobustRule:
    """All updates of a round, combined by ``combination``. It carries nothing from round to round."""

    def __init__(self, combination: Combination) -> None:
        self._combination = combination
        self._round: _Round | None = None

    @property
    def fewest_sites(self) -> int:
        """As the combination needs."""
        return self._combination.fewest_sites

    @property
    def control(self) -> Weights | None:
        """None: sites do not correct their gradients."""
        return None

    def local_settings(self, training: TrainingSettings) -> TrainingSettings:
        """Unchanged."""
        return training

    def begin(self, weights: Weights, round_: int) -> None:
        """See :class:`~mien_server.rules.rule.Rule`, as for the other methods."""
        self._round = _Round(round_, weights)

    def add(self, update: SiteUpdate) -> None:
        """Kept until the round is finished."""
        begun = self._begun()
        check_fits(update, begun.weights, update.delta)
        begun.sites.append(update.site)
        # In one order for all: distances are taken between flat vectors.
        begun.updates.append({name: update.delta[name] for name in begun.weights})

    def finish(self) -> Weights:
        """The global weights, moved by what the combination makes of the updates."""
        begun, wanted = self._begun(), self._combination
        count = len(begun.updates)
        if count < wanted.fewest_sites:
            raise FederationError(
                f"round {begun.number}: {wanted.name} needs at least {wanted.fewest_sites} sites' updates, "
                f"there are {count} ({', '.join(begun.sites) or 'none'}). "
                f"{wanted.advice}, or have more sites take part."
            )
        delta = wanted.combine(begun.updates)
        new = {name: array + delta[name] for name, array in in_double(begun.weights).items()}
        weights = in_single(new, f"round {begun.number}")
        self._round = None
        return weights

    def state(self) -> Arrays:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Nothing to restore."""

    def _begun(self) -> _Round:
        if self._round is None:
            raise RuntimeError("a round that was not begun")
        return self._round
