"""Bulyan (El Mhamdi et al., 2018, section 4): repeated Krum, and what of it is close to the median.

Written here, because Flower's scores all updates once and takes the best, where the paper asks Krum again
after each choice; and it collects garbage once per site (``docs/rules.md``).

Enters: all updates of a round. Leaves: how far the global weights move.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien_common.weights import Weights

from .rule import Arrays

Matrix = NDArray[np.float64]


def bulyan_of(updates: Sequence[Weights], hostile: int) -> Arrays:
    """In every coordinate, the mean of the β = θ − 2f closest to the median of the selected θ = n − 2f."""
    rows = np.stack([np.concatenate([array.ravel() for array in update.values()]) for update in updates])
    rows = rows.astype(np.float64)
    selected = rows[selected_by_krum(squared_distances(rows), hostile)]
    away = np.abs(selected - np.median(selected, axis=0))
    closest = np.argsort(away, axis=0, kind="stable")[: len(selected) - 2 * hostile]
    flat = np.take_along_axis(selected, closest, axis=0).mean(axis=0)
    ends = np.cumsum([array.size for array in updates[0].values()])[:-1]
    parts = zip(updates[0].items(), np.split(flat, ends), strict=True)
    return {name: part.reshape(array.shape) for (name, array), part in parts}


def squared_distances(rows: Matrix) -> Matrix:
    """(updates, updates) squared Euclidean distances between ``rows`` (updates, numbers)."""
    return np.stack([np.square(rows - row).sum(axis=1) for row in rows])


def selected_by_krum(distances: Matrix, hostile: int) -> list[int]:
    """Indices of n − 2f updates: Krum's choice, then Krum's among the others, and so on.

    As updates are taken away there come to be fewer than Krum asks for; one neighbour remains. Then the
    two closest to each other score the same: the choice falls on the one closer to all the others, so that
    the order of the sites decides nothing.
    """
    left = list(range(len(distances)))
    chosen: list[int] = []
    while len(chosen) < len(distances) - 2 * hostile:
        others = distances[np.ix_(left, left)]
        to_all = others.sum(axis=1)
        np.fill_diagonal(others, np.inf)
        neighbours = max(1, len(left) - hostile - 2)
        scores = np.sort(others, axis=1)[:, :neighbours].sum(axis=1)
        chosen.append(left.pop(int(np.lexsort((to_all, scores))[0])))
    return chosen
