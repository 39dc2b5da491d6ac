"""SCAFFOLD's side at a site: how it corrects its gradients, and what it learns of its own drift.

Enters: the server's control variate and what a round of local training made. Leaves with the update: the
change of this site's control variate. Kept at the site from round to round: the control variate itself.

    control = SiteControl.zero(server)                     # before the site's first round
    update = local_update(…, correction=control.correction(server))
    control, change = control.after(server, update.delta, update.result.steps, settings.learning_rate)

Pure arithmetic on arrays (Karimireddy et al., 2020, Algorithm 1). It holds for sites that train by plain
SGD: there, and only there, x − y is the sum of the steps' gradients times the learning rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mien_common.weights import Weights


@dataclass(frozen=True)
class SiteControl:
    """A site's control variate cᵢ, named and shaped like the weights that are shared."""

    own: Weights

    @classmethod
    def zero(cls, like: Mapping[str, NDArray[np.float32]]) -> Self:
        """As it is before a site's first round."""
        return cls({name: np.zeros(array.shape, np.float32) for name, array in like.items()})

    def correction(self, server: Weights) -> Weights:
        """c − cᵢ, which is added to every gradient (line 10: y ← y − η(g(y) − cᵢ + c))."""
        return {name: server[name] - own for name, own in self.own.items()}

    def after(
        self, server: Weights, delta: Weights, steps: int, learning_rate: float
    ) -> tuple[Self, Weights]:
        """The site's next control variate, by option II (line 12), and its change, for the server.

        cᵢ⁺ = cᵢ − c + (x − y) / (Kη): the mean gradient over the round's steps, without the correction.

        Parameters
        ----------
        server : c, as it was during the round.
        delta : y − x, the site's new weights minus the global ones; arrays that are not shared may be there.
        steps : K, of the site's SGD.
        learning_rate : η, of the site's SGD.
        """
        new: Weights = {}
        for name, own in self.own.items():
            drift = delta[name].astype(np.float64) / (steps * learning_rate)
            new[name] = (own.astype(np.float64) - server[name] - drift).astype(np.float32)
        return type(self)(new), {name: array - self.own[name] for name, array in new.items()}
