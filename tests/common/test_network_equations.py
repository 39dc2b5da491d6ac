"""The network's numbers, against the equations its documentation names, in NumPy and SciPy."""

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import correlate

from mien_common.architecture import Architecture
from mien_common.network import AffectNetwork, ResidualBlock, build, normalisation_arrays
from mien_common.weights import weights_of

Kind = Literal["rnn", "lstm", "gru"]
Real = NDArray[np.float64]

KINDS: tuple[Kind, ...] = ("rnn", "lstm", "gru")
UNITS = 5


def network_and_arrays(architecture: Architecture, seed: int) -> tuple[AffectNetwork, dict[str, Real]]:
    """A network whose normalisation is not the identity, and its weights."""
    network = build(architecture, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in normalisation_arrays(architecture):
            array = network.get_parameter(name)
            array.add_(torch.randn(array.shape, generator=generator), alpha=0.5)
    return network, {name: array.astype(np.float64) for name, array in weights_of(network).items()}


def features_of(frames: int, channels: int, seed: int) -> Real:
    values = np.random.default_rng(seed).normal(size=(frames, channels))
    values[frames // 3 : frames // 2] = 0.0
    return values


def sigmoid(number: Real) -> Real:
    return 1 / (1 + np.exp(-number))


def elman(from_input: Real, from_state: Real, state: Real, cell: Real) -> tuple[Real, Real]:
    """Elman (1990): h' = tanh(Wx + b + Uh + c)."""
    return np.tanh(from_input + from_state), cell


def lstm(from_input: Real, from_state: Real, state: Real, cell: Real) -> tuple[Real, Real]:
    """Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000)."""
    let_in, forget, candidate, let_out = np.split(from_input + from_state, 4)
    cell = sigmoid(forget) * cell + sigmoid(let_in) * np.tanh(candidate)
    return sigmoid(let_out) * np.tanh(cell), cell


def gru(from_input: Real, from_state: Real, state: Real, cell: Real) -> tuple[Real, Real]:
    """Cho et al. (2014), eqs. 5 to 8, with the reset gate on the product Uh instead of on h."""
    inputs, states = np.split(from_input, 3), np.split(from_state, 3)
    reset, update = sigmoid(inputs[0] + states[0]), sigmoid(inputs[1] + states[1])
    candidate = np.tanh(inputs[2] + reset * states[2])
    return update * state + (1 - update) * candidate, cell


CELLS = {"rnn": elman, "lstm": lstm, "gru": gru}


def one_direction(kind: Kind, weights: dict[str, Real], suffix: str, inputs: Real) -> Real:
    """(frames, units) states of one layer in one direction."""
    state, cell, states = np.zeros(UNITS), np.zeros(UNITS), []
    for frame in inputs:
        from_input = (
            weights[f"recurrence.weight_ih_{suffix}"] @ frame + weights[f"recurrence.bias_ih_{suffix}"]
        )
        from_state = (
            weights[f"recurrence.weight_hh_{suffix}"] @ state + weights[f"recurrence.bias_hh_{suffix}"]
        )
        state, cell = CELLS[kind](from_input, from_state, state, cell)
        states.append(state)
    return np.stack(states)


def convolution(values: Real, weight: Real, bias: Real, before: int, after: int) -> Real:
    """(frames, channels) by SciPy, one pair of channels at a time; zeros around."""
    padded = np.pad(values, ((before, after), (0, 0)))
    columns = [
        bias[to] + sum(correlate(padded[:, of], weight[to, of], mode="valid") for of in range(len(bias)))
        for to in range(len(bias))
    ]
    return np.stack(columns, axis=1)


def block(values: Real, weights: dict[str, Real], prefix: str, before: int, after: int) -> Real:
    """He et al. (2016), fig. 1b, with Ba et al.'s (2016) normalisation, eq. 4, in place of the batch's."""
    inner = values
    for number in (1, 2):
        mean, deviation = inner.mean(axis=1), np.sqrt(inner.var(axis=1) + 1e-5)
        normed = (inner - mean[:, None]) / deviation[:, None]
        scale, shift = (weights[f"{prefix}norm_{number}.{name}"] for name in ("weight", "bias"))
        kernel, bias = (weights[f"{prefix}convolution_{number}.{name}"] for name in ("weight", "bias"))
        inner = convolution(np.maximum(normed * scale + shift, 0), kernel, bias, before, after)
    return values + inner


def expected(architecture: Architecture, weights: dict[str, Real], features: Real) -> Real:
    """What the whole network makes of (frames, channels)."""
    inputs = features
    if architecture.input_norm:
        inputs = inputs * weights["input_norm.weight"] + weights["input_norm.bias"]
    if architecture.residual:
        around = (1, 1) if architecture.bidirectional else (2, 0)
        for number in (0, 1):
            inputs = block(inputs, weights, f"blocks.{number}.", *around)
    for layer in range(architecture.layers):
        forward = one_direction(architecture.kind, weights, f"l{layer}", inputs)
        ends = [forward[-1]]
        if architecture.bidirectional:
            backward = one_direction(architecture.kind, weights, f"l{layer}_reverse", inputs[::-1])
            ends.append(backward[-1])
            forward = np.concatenate([forward, backward[::-1]], axis=1)
        inputs = forward
    hidden = np.concatenate(ends) if architecture.predicts == "window" else inputs
    return np.tanh(hidden @ weights["head.weight"].T + weights["head.bias"])


@pytest.mark.parametrize("predicts", ["frames", "window"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_what_its_equations_say(
    kind: Kind, bidirectional: bool, layers: int, residual: bool, predicts: Literal["frames", "window"]
) -> None:
    architecture = Architecture(
        kind=kind,
        channels=6,
        hidden_units=UNITS,
        layers=layers,
        bidirectional=bidirectional,
        residual=residual,
        input_norm=residual,
        predicts=predicts,
    )
    network, weights = network_and_arrays(architecture, seed=3)
    features = features_of(20, 6, seed=4)
    with torch.inference_mode():
        found = network(torch.tensor(features, dtype=torch.float32)[None])[0].numpy()
    assert found == pytest.approx(expected(architecture, weights, features), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_one_turn_of_the_cell(kind: Kind) -> None:
    """From a state in the middle of a stream."""
    architecture = Architecture(kind=kind, channels=6, hidden_units=UNITS, layers=1)
    network, weights = network_and_arrays(architecture, seed=3)
    generator = np.random.default_rng(3)
    frame, state, cell = generator.normal(size=6), generator.normal(size=UNITS), generator.normal(size=UNITS)
    from_input = weights["recurrence.weight_ih_l0"] @ frame + weights["recurrence.bias_ih_l0"]
    from_state = weights["recurrence.weight_hh_l0"] @ state + weights["recurrence.bias_hh_l0"]
    after = CELLS[kind](from_input, from_state, state, cell)
    given = tuple(
        torch.tensor(part, dtype=torch.float32)[None, None]
        for part in ((state, cell) if kind == "lstm" else (state,))
    )
    with torch.inference_mode():
        prediction, left = network.step(torch.tensor(frame, dtype=torch.float32)[None], given)
    assert prediction[0].numpy() == pytest.approx(
        np.tanh(weights["head.weight"] @ after[0] + weights["head.bias"]), abs=1e-5
    )
    for part, by_hand in zip(left, after, strict=False):
        assert part[0, 0].numpy() == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_residual_block_is_two_convolutions_of_scipy_beside_the_input(causal: bool) -> None:
    torch.manual_seed(5)
    made = ResidualBlock(7, causal=causal)
    with torch.no_grad():
        for name, array in made.named_parameters():
            if "norm" in name:
                array.add_(torch.randn(array.shape), alpha=0.5)
    weights = {name: array.detach().numpy().astype(np.float64) for name, array in made.named_parameters()}
    features = features_of(30, 7, seed=5)
    found = made(torch.tensor(features, dtype=torch.float32)[None])[0].detach().numpy()
    by_hand = block(features, weights, "", *((2, 0) if causal else (1, 1)))
    assert found == pytest.approx(by_hand, abs=1e-5)
    assert np.abs(by_hand - features).max() > 0.1


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_two_directions_are_two_networks_one_of_them_backwards(kind: Kind, layers: int) -> None:
    """Layer by layer, each of two unidirectional networks is given one direction's weights."""
    both = build(
        Architecture(kind=kind, channels=6, hidden_units=UNITS, layers=layers, bidirectional=True), 6
    )
    features = torch.tensor(features_of(20, 6, seed=6), dtype=torch.float32)[None]
    hidden = features
    with torch.inference_mode():
        for layer in range(layers):
            traces = []
            for suffix, flipped in (("", False), ("_reverse", True)):
                one = build(
                    Architecture(kind=kind, channels=hidden.shape[-1], hidden_units=UNITS, layers=1), seed=0
                )
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    given = both.get_parameter(f"recurrence.{name}_l{layer}{suffix}")
                    one.get_parameter(f"recurrence.{name}_l0").copy_(given)
                trace, _ = one.recurrence(hidden.flip(1) if flipped else hidden)
                traces.append(trace.flip(1) if flipped else trace)
            hidden = torch.cat(traces, dim=-1)
        assert torch.allclose(torch.tanh(both.head(hidden)), both(features), atol=1e-6, rtol=0)
