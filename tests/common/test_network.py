"""The network both sides build: the same from the same seed, bounded, causal."""

import numpy as np
import pytest
import torch
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


def test_the_default_is_a_gru_of_two_layers_of_64() -> None:
    shapes = shapes_of(Architecture())
    assert shapes["recurrence.weight_ih_l0"] == (3 * 64, 40)
    assert shapes["recurrence.weight_hh_l1"] == (3 * 64, 64)
    assert shapes["head.weight"] == (2, 64)
    assert shapes == {name: array.shape for name, array in weights_of(build(Architecture(), 0)).items()}


@pytest.mark.parametrize(
    "wrong", [{"kind": "lstm"}, {"hidden_units": 0}, {"layers": 17}, {"channels": -1}, {"dropout": 0.1}]
)
def test_impossible_architectures_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Architecture.model_validate(wrong)
