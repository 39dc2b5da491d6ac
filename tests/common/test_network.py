"""The network both sides build: the same from the same seed, bounded, causal."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from mien_common.architecture import Architecture
from mien_common.network import build
from mien_common.weights import shapes_of, weights_of

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


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 250)])
def test_one_pair_in_range_per_frame(batch: int, frames: int) -> None:
    features = 50 * torch.randn(batch, frames, 40, generator=torch.Generator().manual_seed(0))
    output = build(Architecture(), seed=0)(features)
    assert output.shape == (batch, frames, 2)
    assert bool((output.abs() <= 1).all())


def test_a_frame_does_not_know_the_future() -> None:
    network = build(SMALL, seed=1).eval()
    features = torch.randn(1, 60, 40, generator=torch.Generator().manual_seed(1))
    changed = features.clone()
    changed[:, 30:] = 9.0
    with torch.no_grad():
        before, after = network(features), network(changed)
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.allclose(before[:, 30:], after[:, 30:])


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_frame_by_frame_is_the_same_as_all_at_once(layers: int) -> None:
    network = build(Architecture(hidden_units=24, layers=layers), seed=layers).eval()
    features = 3 * torch.randn(2, 300, 40, generator=torch.Generator().manual_seed(layers))
    features[:, 100:140] = 0.0  # a face that was away
    stepped, state = [], None
    with torch.inference_mode():
        expected = network(features)
        for frame in range(features.shape[1]):
            prediction, state = network.step(features[:, frame], state)
            stepped.append(prediction)
    assert torch.allclose(torch.stack(stepped, dim=1), expected, atol=1e-5, rtol=0)
    assert state is not None
    assert [part.shape for part in state] == [(layers, 2, 24)]


def test_a_step_is_what_cho_2014_writes() -> None:
    """One layer, one frame, by the paper's equations as PyTorch documents them, in NumPy."""
    network = build(Architecture(hidden_units=5, layers=1), seed=3).eval()
    weights = {name: array.astype(np.float64) for name, array in weights_of(network).items()}
    generator = np.random.default_rng(3)
    frame, before = generator.normal(size=40), generator.normal(size=5)

    def sigmoid(number: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-number))

    from_frame = weights["recurrence.weight_ih_l0"] @ frame + weights["recurrence.bias_ih_l0"]
    from_state = weights["recurrence.weight_hh_l0"] @ before + weights["recurrence.bias_hh_l0"]
    reset = sigmoid(from_frame[:5] + from_state[:5])
    update = sigmoid(from_frame[5:10] + from_state[5:10])
    candidate = np.tanh(from_frame[10:] + reset * from_state[10:])
    after = (1 - update) * candidate + update * before
    expected = np.tanh(weights["head.weight"] @ after + weights["head.bias"])

    given = torch.tensor(before, dtype=torch.float32)[None, None]
    with torch.inference_mode():
        prediction, state = network.step(torch.tensor(frame, dtype=torch.float32)[None], (given,))
    assert prediction[0].numpy() == pytest.approx(expected, abs=1e-5)
    assert state[0][0, 0].numpy() == pytest.approx(after, abs=1e-5)
    assert given[0, 0].numpy() == pytest.approx(before, abs=1e-6), "the state that was given has changed"


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
