"""The network both sides build: the same from the same seed, bounded, causal, and the same as a stream.

Its numbers are checked against equations in ``test_network_equations.py``.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mien_common.architecture import Architecture
from mien_common.errors import ModelError
from mien_common.network import AffectNetwork, build, normalisation_arrays
from mien_common.weights import shapes_of, weights_of

Kind = Literal["rnn", "lstm", "gru"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SMALL = Architecture(hidden_units=8, layers=2)


def test_same_seed_same_weights_whatever_ran_before() -> None:
    first = weights_of(build(Architecture(), seed=7))
    torch.rand(100)
    second = weights_of(build(Architecture(), seed=7))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = weights_of(build(Architecture(), seed=8))
    assert not any(np.array_equal(first[name], other[name]) for name in first)


def test_building_leaves_the_callers_randomness_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build(SMALL, seed=99)
    assert torch.equal(torch.rand(4), expected)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads on networks this small wait for each other; beside other work, for minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def variants(**fixed: object) -> list[Architecture]:
    """Every kind, with and without residual blocks and channel normalisation."""
    return [
        Architecture.model_validate(
            {"kind": kind, "hidden_units": 8, "residual": residual, "input_norm": norm, **fixed}
        )
        for kind, residual, norm in itertools.product(KINDS, (False, True), (False, True))
    ]


def in_words(architecture: Architecture) -> str:
    return architecture.in_words.replace(" ", "-") + "-normed" * architecture.input_norm


def rough(architecture: Architecture, seed: int) -> AffectNetwork:
    """A network as after training: normalisation no longer the identity."""
    network = build(architecture, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in normalisation_arrays(architecture):
            array = network.get_parameter(name)
            array.add_(torch.randn(array.shape, generator=generator), alpha=0.5)
    return network


def lively(batch: int, frames: int, seed: int, channels: int = 40) -> torch.Tensor:
    """Features of a face that is away for a while, and whose absence is zeros."""
    features = 3 * torch.randn(batch, frames, channels, generator=torch.Generator().manual_seed(seed))
    features[:, frames // 3 : frames // 2] = 0.0
    return features


def streamed(network: AffectNetwork, features: torch.Tensor) -> torch.Tensor:
    """(batch, frames, 2), a frame at a time."""
    predictions, state = [], None
    for frame in range(features.shape[1]):
        prediction, state = network.step(features[:, frame], state)
        predictions.append(prediction)
    return torch.stack(predictions, dim=1)


@pytest.mark.parametrize("architecture", [*variants(), *variants(bidirectional=True)], ids=in_words)
@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 60)])
def test_one_pair_in_range_per_frame_or_per_window(
    architecture: Architecture, batch: int, frames: int
) -> None:
    features = 20 * lively(batch, frames, seed=0)
    output = build(architecture, seed=0)(features)
    assert output.shape == (batch, frames, 2)
    assert bool((output.abs() <= 1).all())
    windows = build(architecture.model_copy(update={"predicts": "window"}), seed=0)(features)
    assert windows.shape == (batch, 2)
    if not architecture.bidirectional:
        assert torch.equal(windows, output[:, -1]), "the window's pair is not where its recurrence ends"


@pytest.mark.parametrize("architecture", variants(), ids=in_words)
def test_a_frame_does_not_know_the_future(architecture: Architecture) -> None:
    network = rough(architecture, seed=1)
    features = lively(1, 60, seed=1)
    changed = features.clone()
    changed[:, 30:] = 9.0
    with torch.inference_mode():
        before, after = network(features), network(changed)
    assert torch.equal(before[:, :30], after[:, :30])
    assert bool((before[:, 30] != after[:, 30]).all())


@pytest.mark.parametrize("architecture", variants(bidirectional=True), ids=in_words)
def test_a_bidirectional_network_knows_past_and_future(architecture: Architecture) -> None:
    features = lively(1, 9, seed=1).requires_grad_()
    rough(architecture, seed=1)(features)[0, 4, 0].backward()
    assert features.grad is not None
    assert bool((features.grad[0].abs().sum(dim=-1) > 0).all())


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("architecture", variants(), ids=in_words)
def test_frame_by_frame_is_the_same_as_all_at_once(architecture: Architecture, layers: int) -> None:
    network = rough(architecture.model_copy(update={"layers": layers}), seed=layers)
    features = lively(2, 150, seed=layers)
    with torch.inference_mode():
        assert torch.allclose(streamed(network, features), network(features), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_stream_does_not_drift(kind: Kind) -> None:
    network = rough(Architecture(kind=kind, hidden_units=64, residual=True, input_norm=True), seed=2)
    features = lively(1, 2000, seed=2)
    with torch.inference_mode():
        assert torch.allclose(streamed(network, features), network(features), atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", variants(layers=3), ids=in_words)
def test_a_step_leaves_the_state_it_was_given(architecture: Architecture) -> None:
    """A frame between two ticks of the clock is tried, and then the stream goes on without it."""
    network = rough(architecture, seed=3)
    features = lively(1, 12, seed=3)
    with torch.inference_mode():
        _, state = network.step(features[:, 0], None)
        kept = [part.clone() for part in state]
        tried, _ = network.step(features[:, 1], state)
        network.step(features[:, 2], state)
        assert all(torch.equal(part, before) for part, before in zip(state, kept, strict=True))
        assert torch.equal(network.step(features[:, 1], state)[0], tried)
    shapes = [(3, 1, 8)] * (2 if architecture.kind == "lstm" else 1) + [(1, 2, 40)] * (
        4 if architecture.residual else 0
    )
    assert [tuple(part.shape) for part in state] == shapes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bidirectional": True, "kind": "lstm"}, "bidirectional LSTM, 2 layers of 64 units"),
        (
            {"predicts": "window", "residual": True, "layers": 1},
            "residual GRU, 1 layer of 64 units, one pair per window",
        ),
    ],
)
def test_what_needs_a_whole_recording_does_not_stream(changes: dict[str, object], words: str) -> None:
    architecture = Architecture.model_validate(changes)
    assert not architecture.streams
    with pytest.raises(ModelError, match=re.escape(f"this model ({words}) needs a whole recording")):
        build(architecture, seed=0).step(torch.zeros(1, 40), None)


@pytest.mark.parametrize("predicts", ["frames", "window"])
@pytest.mark.parametrize("architecture", [*variants(), *variants(bidirectional=True)], ids=in_words)
def test_every_array_learns_and_no_gradient_is_infinite(architecture: Architecture, predicts: str) -> None:
    """Also from a face that is away: a layer normalisation divides by the deviation of zeros."""
    network = build(architecture.model_copy(update={"predicts": predicts}), seed=4)
    for features in (lively(2, 20, seed=4), 1e3 * lively(2, 20, seed=4), torch.zeros(2, 20, 40)):
        network.zero_grad()
        network(features).square().sum().backward()
        gradients = {name: array.grad for name, array in network.named_parameters()}
        for name, gradient in gradients.items():
            assert gradient is not None, f"{name} takes no part"
            assert bool(gradient.isfinite().all()), name
    network.zero_grad()
    network(lively(2, 20, seed=4)).square().sum().backward()
    idle = [name for name, array in network.named_parameters() if not array.grad.abs().sum()]  # type: ignore[union-attr]
    assert not idle


@pytest.mark.parametrize("architecture", [*variants(), *variants(bidirectional=True)], ids=in_words)
def test_normalisation_arrays_are_those_of_the_normalisation_layers(architecture: Architecture) -> None:
    """What FedBN keeps at its site: named in full here, so that a renamed layer is noticed."""
    expected = set()
    if architecture.input_norm:
        expected |= {"input_norm.weight", "input_norm.bias"}
    if architecture.residual:
        expected |= {
            f"blocks.{block}.norm_{number}.{array}"
            for block in (0, 1)
            for number in (1, 2)
            for array in ("weight", "bias")
        }
    assert normalisation_arrays(architecture) == expected
    assert expected <= set(shapes_of(architecture))


def test_the_default_is_a_gru_of_two_layers_of_64() -> None:
    shapes = shapes_of(Architecture())
    assert shapes["recurrence.weight_ih_l0"] == (3 * 64, 40)
    assert shapes["recurrence.weight_hh_l1"] == (3 * 64, 64)
    assert shapes["head.weight"] == (2, 64)
    assert shapes == {name: array.shape for name, array in weights_of(build(Architecture(), 0)).items()}


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "transformer"}, {"hidden_units": 0}, {"layers": 17}, {"channels": -1}, {"dropout": 0.1}],
)
def test_impossible_architectures_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Architecture.model_validate(wrong)
