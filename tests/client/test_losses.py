"""Losses against closed forms in NumPy, gradients against finite differences, and nothing to learn from."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien_client.losses import ccc_loss, loss_of, mse_loss

Some = tuple[Tensor, Tensor, Tensor]


def some(seed: int = 0) -> Some:
    generator = np.random.default_rng(seed)
    prediction, target = generator.uniform(-1, 1, (2, 3, 20, 2))
    counts = generator.random((3, 20)) < 0.6
    return torch.from_numpy(prediction), torch.from_numpy(target), torch.from_numpy(counts)


def guessed(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    """A prediction to learn from: the same in every run."""
    guess = torch.rand(shape, dtype=kind, generator=torch.Generator().manual_seed(7))
    return guess.requires_grad_()


def counted(some: Some, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    prediction, target, counts = (tensor.numpy() for tensor in some)
    return prediction[counts][:, column], target[counts][:, column]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_mix_is_lins_ccc_and_the_mean_square_in_numpy(share: float, seed: int) -> None:
    given = some(seed)
    expected = []
    for column in (0, 1):
        x, y = counted(given, column)
        (xx, xy), (_, yy) = np.cov(x, y, bias=True)
        ccc = 2 * xy / (xx + yy + (x.mean() - y.mean()) ** 2)
        expected.append((1 - share) * (1 - ccc) + share * np.mean((x - y) ** 2))
    assert float(loss_of(*given, share)) == pytest.approx(np.mean(expected), abs=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_gradients_are_those_of_finite_differences(share: float) -> None:
    prediction, target, counts = some(3)
    prediction.requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss_of(given, target, counts, share), [prediction])


def gradient_of(loss: Tensor, prediction: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, prediction)
    return gradient


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_where_no_frame_counts_nothing_is_learnt_and_nothing_breaks(share: float, kind: torch.dtype) -> None:
    prediction = guessed(2, 9, 2, kind=kind)
    nothing = torch.zeros(2, 9, dtype=torch.bool)
    loss = loss_of(prediction, torch.zeros(2, 9, 2, dtype=kind), nothing, share)
    assert float(loss.detach()) == pytest.approx(1 - share)
    assert not gradient_of(loss, prediction).any()


@pytest.mark.parametrize("constant", [0.0, 0.7, -1.0])
def test_constant_ratings_give_the_ccc_nothing_to_learn(constant: float) -> None:
    prediction = guessed(2, 9, 2)
    loss = ccc_loss(prediction, torch.full((2, 9, 2), constant), torch.ones(2, 9, dtype=torch.bool))
    assert float(loss.detach()) == pytest.approx(1.0, abs=1e-5)
    gradient = gradient_of(loss, prediction)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) < 1e-5


def test_the_mean_square_still_learns_from_constant_ratings() -> None:
    prediction = torch.full((1, 4, 2), 0.5, requires_grad=True)
    loss = mse_loss(prediction, torch.zeros(1, 4, 2), torch.ones(1, 4, dtype=torch.bool))
    assert float(loss.detach()) == 0.25
    # Mean over 4 frames × 2 ratings of (0.5)²: each number pulls with 2 · 0.5 / 8.
    assert gradient_of(loss, prediction).flatten().tolist() == [0.125] * 8


def test_one_counted_frame_is_no_trace() -> None:
    prediction = guessed(1, 9, 2)
    one = torch.arange(9)[None] == 4
    loss = ccc_loss(prediction, torch.linspace(-1, 1, 18).view(1, 9, 2), one)
    assert float(loss.detach()) == pytest.approx(1.0)
    assert bool(gradient_of(loss, prediction).isfinite().all())
