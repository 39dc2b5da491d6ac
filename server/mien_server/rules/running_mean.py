"""A weighted mean of named arrays that are seen once: one sum in double precision, however many there are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import UpdateRejectedError

from .rule import Arrays


class RunningMean:
    """Σ wᵢ xᵢ / Σ wᵢ over arrays shaped like ``like``."""

    def __init__(self, like: Mapping[str, NDArray[Any]]) -> None:
        self._sum: Arrays = {name: np.zeros(array.shape) for name, array in like.items()}
        self._weight = 0.0

    def add(self, arrays: Mapping[str, NDArray[Any]], weight: float) -> None:
        """Count ``arrays`` ``weight`` times."""
        self._weight += weight
        for name, total in self._sum.items():
            total += weight * arrays[name].astype(np.float64)

    def mean(self) -> Arrays:
        """The mean of what was added.

        Raises
        ------
        UpdateRejectedError
            It weighs nothing.
        """
        if not self._weight > 0:
            raise UpdateRejectedError("the updates together have no weight, so they have no mean")
        return {name: total / self._weight for name, total in self._sum.items()}
