"""The server's optimisers: the mean update is a gradient's negative, and the server takes a step along it.

FedAvgM, FedAdagrad and FedYogi are Flower's; its strategies are given their state in every round and
asked for it after, so nothing is hidden in them. FedAdam is written here, because Flower's has a bias
correction that the paper's algorithm has not (``docs/rules.md``).
"""

import numpy as np
from flwr.serverapp.strategy import FedAvgM

from .flower import combined, record_of
from .mean_rule import Memory, ServerStep
from .rule import Arrays


def momentum(learning_rate: float, beta: float) -> ServerStep:
    """FedAvgM (Hsu et al., 2019, section 4.3): v ← βv − Δ, w ← w − ηv; Flower's."""

    def step(weights: Arrays, mean: Arrays, memory: Memory) -> tuple[Arrays, Memory]:
        strategy = FedAvgM(server_learning_rate=learning_rate, server_momentum=beta)
        strategy.current_arrays = record_of(weights)
        remembered = memory.get("momentum")
        strategy.momentum_vector = None if remembered is None else [remembered[name] for name in weights]
        target = {name: array + mean[name] for name, array in weights.items()}
        new = combined(strategy, 1, [target])
        vector = strategy.momentum_vector
        kept = {} if vector is None else dict(zip(weights, map(np.asarray, vector), strict=True))
        return new, {"momentum": kept} if kept else {}

    return step
