"""What a federated rule is: it takes a round's updates one by one and gives new global weights.

Enters: the global weights, then each site's update. Leaves: new global weights, float32. A rule keeps
whatever its paper carries from round to round, and can give it away and take it back to resume a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import UpdateRejectedError
from mien_common.messages import TrainingSettings
from mien_common.weights import Weights

Arrays = dict[str, NDArray[np.float64]]
"""Named like weights, in double precision: sums, means and what a rule remembers."""


@dataclass(frozen=True)
class SiteUpdate:
    """What one site's training made of the global weights."""

    site: str
    delta: Weights
    """New weights minus the global ones."""
    frames: int
    """Frames trained on: what the site counts for where frames are what counts."""
    control_delta: Weights | None = None
    """SCAFFOLD: the site's new control variate minus its old one."""


class Rule(Protocol):
    """A federated rule. In each round: :meth:`begin`, :meth:`add` per site, :meth:`finish`.

    Sums are taken in the order in which sites are added, so a caller who wants the same bits again
    adds them in the order of their names.
    """

    @property
    def fewest_sites(self) -> int:
        """With fewer in a round the rule has no result, or none that deserves its name."""
        ...

    @property
    def control(self) -> Weights | None:
        """SCAFFOLD: the server's control variate c, which sites correct by, once a round has begun."""
        ...

    def local_settings(self, training: TrainingSettings) -> TrainingSettings:
        """How sites train under this rule.

        Raises
        ------
        SettingsError
            The rule cannot work with sites that train so.
        """
        ...

    def begin(self, weights: Weights, round_: int) -> None:
        """Start a round from the global ``weights``; one that was begun and not finished is forgotten."""
        ...

    def add(self, update: SiteUpdate) -> None:
        """Take one site's update.

        Raises
        ------
        UpdateRejectedError
            It does not fit the global weights, or holds numbers that are not finite.
        """
        ...

    def finish(self) -> Weights:
        """New global weights. What the rule remembers changes only if there are some.

        Raises
        ------
        FederationError
            Fewer sites were added than the rule needs.
        UpdateRejectedError
            The updates weigh nothing, or the weights would not be finite.
        """
        ...

    def state(self) -> Arrays:
        """What the rule carries from round to round, by name."""
        ...

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on from what :meth:`state` of a rule with the same settings gave."""
        ...


def check_fits(update: SiteUpdate, weights: Weights, arrays: Weights, what: str = "update") -> None:
    """Raise UpdateRejectedError unless ``arrays`` of ``update`` fit ``weights`` and are finite."""
    if arrays.keys() != weights.keys():
        raise UpdateRejectedError(
            f"the {what} of site {update.site} holds the arrays {sorted(arrays)}, expected {sorted(weights)}"
        )
    for name, array in arrays.items():
        if array.shape != weights[name].shape:
            raise UpdateRejectedError(
                f"array {name} in the {what} of site {update.site} is {list(array.shape)}, "
                f"expected {list(weights[name].shape)}"
            )
        if not np.isfinite(array).all():
            raise UpdateRejectedError(
                f"array {name} in the {what} of site {update.site} holds NaN or infinite numbers"
            )


def in_double(weights: Weights) -> Arrays:
    """``weights`` in double precision."""
    return {name: array.astype(np.float64) for name, array in weights.items()}


def in_single(arrays: Arrays, what: str) -> Weights:
    """``arrays`` as weights.

    Raises
    ------
    UpdateRejectedError
        A number is not finite, or not in single precision.
    """
    with np.errstate(over="ignore"):
        weights: Weights = {name: array.astype(np.float32) for name, array in arrays.items()}
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise UpdateRejectedError(f"{what}: array {name} would hold NaN or infinite numbers")
    return weights
