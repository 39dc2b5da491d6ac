"""The server's optimisers: the mean update is a gradient's negative, and the server takes a step along it.

FedAvgM, FedAdagrad and FedYogi are Flower's: a fresh strategy is given its state in every round and asked
for it after, so nothing is hidden in it. FedAdam is written here, because Flower's has a bias correction
that the paper's algorithm has not (``docs/rules.md``).
"""

from typing import Final

import numpy as np
from flwr.serverapp.strategy import FedAdagrad, FedAvgM, FedYogi

from .flower import combined, record_of
from .mean_rule import Memory, ServerStep
from .rule import Arrays

MOMENTUM_RATE: Final = 1.0
"""FedAvgM's learning rate where none is given: Hsu et al. (2019) write the rule without one."""

ADAPTIVE_RATE: Final = 0.03
"""FedAdam's, FedYogi's and FedAdagrad's where none is given. A weight moves by about this much in a round;
Reddi et al. (2021) tune it per task and name no default. ``docs/rules.md`` has what was tried here."""


def momentum(learning_rate: float, beta: float) -> ServerStep:
    """FedAvgM (Hsu et al., 2019, section 4.3): v ← βv − Δ, w ← w − ηv; Flower's."""

    def step(weights: Arrays, mean: Arrays, memory: Memory) -> tuple[Arrays, Memory]:
        strategy = FedAvgM(server_learning_rate=learning_rate, server_momentum=beta)
        strategy.current_arrays = record_of(weights)
        remembered = memory.get("momentum")
        strategy.momentum_vector = None if remembered is None else [remembered[name] for name in weights]
        new = combined(strategy, [_along(weights, mean)])
        vector = strategy.momentum_vector
        if vector is None:
            return new, {}
        return new, {"momentum": dict(zip(weights, map(np.asarray, vector), strict=True))}

    return step


def adagrad(learning_rate: float, tau: float) -> ServerStep:
    """FedAdagrad (Reddi et al., 2021, Algorithm 2, with β₁ = 0 as in their experiments); Flower's."""

    def step(weights: Arrays, mean: Arrays, memory: Memory) -> tuple[Arrays, Memory]:
        return _flower_step(FedAdagrad(eta=learning_rate, tau=tau), weights, mean, memory)

    return step


def yogi(learning_rate: float, beta_1: float, beta_2: float, tau: float) -> ServerStep:
    """FedYogi (Reddi et al., 2021, Algorithm 2); Flower's."""

    def step(weights: Arrays, mean: Arrays, memory: Memory) -> tuple[Arrays, Memory]:
        strategy = FedYogi(eta=learning_rate, beta_1=beta_1, beta_2=beta_2, tau=tau)
        return _flower_step(strategy, weights, mean, memory)

    return step


def adam(learning_rate: float, beta_1: float, beta_2: float, tau: float) -> ServerStep:
    """FedAdam (Reddi et al., 2021, Algorithm 2): without Kingma & Ba's bias correction.

    m ← β₁m + (1 − β₁)Δ, v ← β₂v + (1 − β₂)Δ², w ← w + η m / (√v + τ); v starts at τ².
    """

    def step(weights: Arrays, mean: Arrays, memory: Memory) -> tuple[Arrays, Memory]:
        before = _first_memory(weights, tau) | dict(memory)
        m = {name: beta_1 * array + (1 - beta_1) * mean[name] for name, array in before["m"].items()}
        v = {name: beta_2 * array + (1 - beta_2) * mean[name] ** 2 for name, array in before["v"].items()}
        new = {
            name: array + learning_rate * m[name] / (np.sqrt(v[name]) + tau)
            for name, array in weights.items()
        }
        return new, {"m": m, "v": v}

    return step


def _flower_step(
    strategy: FedAdagrad | FedYogi, weights: Arrays, mean: Arrays, memory: Memory
) -> tuple[Arrays, Memory]:
    before = _first_memory(weights, strategy.tau) | dict(memory)
    strategy.current_arrays = dict(weights)
    strategy.m_t, strategy.v_t = before["m"], before["v"]
    new = combined(strategy, [_along(weights, mean)])
    return new, {"m": dict(strategy.m_t), "v": dict(strategy.v_t)}


def _first_memory(weights: Arrays, tau: float) -> dict[str, Arrays]:
    """Before the first round: m = 0, and v = τ², the least that Algorithm 2 allows. Flower begins at 0."""
    return {
        "m": {name: np.zeros_like(array) for name, array in weights.items()},
        "v": {name: np.full_like(array, tau**2) for name, array in weights.items()},
    }


def _along(weights: Arrays, mean: Arrays) -> Arrays:
    """What Flower averages: whole weights. It takes the global ones off again."""
    return {name: array + mean[name] for name, array in weights.items()}
