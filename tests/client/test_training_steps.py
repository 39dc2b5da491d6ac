"""What a step of training is: optimisers, federated rules and clipping against steps written out by hand."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mien_client import training
from mien_client.losses import loss_of
from mien_client.rated_recording import Recording
from mien_client.training import local_update, train
from mien_client.windows import Batch, Windows
from mien_common.architecture import Architecture
from mien_common.errors import SettingsError
from mien_common.messages import TrainingSettings
from mien_common.network import AffectNetwork, build
from mien_common.weights import Weights, network_from, weights_of

CPU = torch.device("cpu")
SMALL = Architecture(hidden_units=6, layers=1)
GLOBAL = weights_of(build(SMALL, seed=1))
NEVER = 1e9
"""A gradient norm at which nothing is clipped."""
SEED = 3


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def noise(seed: int = 0, frames: int = 150) -> Recording:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(frames, 40)).astype(np.float32)
    targets = np.tanh(inputs[:, :2]).astype(np.float32)
    return Recording(inputs, targets, generator.random(frames) < 0.8)


def settings(**values: object) -> TrainingSettings:
    given = {"local_epochs": 2, "window_s": 1.0, "batch_windows": 3, "clip_gradient_norm": NEVER} | values
    return TrainingSettings.model_validate(given)


def batches(given: TrainingSettings) -> Iterator[Batch]:
    windows = Windows([noise()], round(25 * given.window_s), CPU)
    generator = np.random.default_rng(SEED)
    for _ in range(given.local_epochs):
        yield from windows.epoch(generator, given.batch_windows)


@dataclass
class ByHand:
    """PyTorch's own layers and plain steps, beside which our training is held."""

    network: AffectNetwork

    def gradients(self, batch: Batch, share: float = 0.0) -> dict[str, Tensor]:
        self.network.zero_grad()
        loss = loss_of(self.network(batch.inputs), batch.targets, batch.counts, share)
        loss.backward()  # type: ignore[no-untyped-call]
        named = self.network.named_parameters()
        return {name: value.grad.clone() for name, value in named if value.grad is not None}

    @torch.no_grad()
    def move(self, steps: dict[str, Tensor]) -> None:
        for name, parameter in self.network.named_parameters():
            parameter.add_(steps[name])


def assert_same(found: Weights, expected: Weights, atol: float = 2e-6) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name] == pytest.approx(array, abs=atol), name


def trained(given: TrainingSettings, correction: Weights | None = None) -> Weights:
    network = network_from(GLOBAL, SMALL)
    train(network, [noise()], given, SEED, CPU, correction=correction)
    return weights_of(network)


def pull(scale: float = 0.05) -> Weights:
    generator = np.random.default_rng(9)
    return {
        name: generator.normal(0, scale, array.shape).astype(np.float32) for name, array in GLOBAL.items()
    }


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_sgd_goes_down_the_gradient(share: float) -> None:
    given = settings(optimiser="sgd", learning_rate=0.1, mse_share=share)
    by_hand = ByHand(network_from(GLOBAL, SMALL))
    for batch in batches(given):
        gradients = by_hand.gradients(batch, share)
        by_hand.move({name: -0.1 * gradient for name, gradient in gradients.items()})
    assert_same(trained(given), weights_of(by_hand.network))


def test_fedprox_pulls_back_to_the_global_weights() -> None:
    """w ← w − η (∇F(w) + µ (w − w_global)): Li et al., 2020, eq. 2."""
    given = settings(optimiser="sgd", learning_rate=0.1, proximal_mu=2.0)
    by_hand = ByHand(network_from(GLOBAL, SMALL))
    for batch in batches(given):
        gradients = by_hand.gradients(batch)
        now = weights_of(by_hand.network)
        by_hand.move(
            {
                name: -0.1 * (gradient + 2.0 * torch.from_numpy(now[name] - GLOBAL[name]))
                for name, gradient in gradients.items()
            }
        )
    found = trained(given)
    assert_same(found, weights_of(by_hand.network))
    free = trained(settings(optimiser="sgd", learning_rate=0.1))
    assert distance(found) < 0.9 * distance(free)


def distance(weights: Weights) -> float:
    return float(np.sqrt(sum(np.square(weights[name] - GLOBAL[name]).sum() for name in GLOBAL)))


def test_scaffold_adds_its_correction_to_every_step() -> None:
    """y ← y − η (g(y) − cᵢ + c): Karimireddy et al., 2020, eq. 3."""
    given = settings(optimiser="sgd", learning_rate=0.1)
    by_hand, correction = ByHand(network_from(GLOBAL, SMALL)), pull()
    for batch in batches(given):
        gradients = by_hand.gradients(batch)
        by_hand.move(
            {name: -0.1 * (gradients[name] + torch.from_numpy(correction[name])) for name in gradients}
        )
    assert_same(trained(given, correction), weights_of(by_hand.network))


def test_only_the_gradient_is_clipped_and_never_what_a_rule_adds() -> None:
    """With the gradient clipped to almost nothing, what moves the weights is the correction alone."""
    given = settings(optimiser="sgd", learning_rate=0.1, clip_gradient_norm=1e-9)
    network, correction = network_from(GLOBAL, SMALL), pull()
    result = train(network, [noise()], given, SEED, CPU, correction=correction)
    assert result.steps > 1
    expected = {name: GLOBAL[name] - 0.1 * result.steps * correction[name] for name in GLOBAL}
    assert_same(weights_of(network), expected)


def test_a_clipped_step_is_as_long_as_it_may_be() -> None:
    given = settings(
        optimiser="sgd", learning_rate=1.0, local_epochs=1, batch_windows=100, clip_gradient_norm=0.01
    )
    assert distance(trained(given)) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "reference"),
    [
        ({"optimiser": "adam"}, lambda given: torch.optim.Adam(given, lr=0.01, fused=False)),
        (
            {"optimiser": "adam", "weight_decay": 0.1},
            lambda given: torch.optim.Adam(given, lr=0.01, weight_decay=0.1, fused=False),
        ),
        (
            {"optimiser": "adamw", "weight_decay": 0.1},
            lambda given: torch.optim.AdamW(given, lr=0.01, weight_decay=0.1, fused=False),
        ),
        (
            {"optimiser": "sgd", "momentum": 0.9, "weight_decay": 0.1},
            lambda given: torch.optim.SGD(given, lr=0.01, momentum=0.9, weight_decay=0.1, fused=False),
        ),
    ],
)
def test_the_optimisers_are_pytorchs(
    values: dict[str, object], reference: type[torch.optim.Optimizer]
) -> None:
    """PyTorch's plain implementations, its own layers, its own clipping."""
    given = settings(learning_rate=0.01, clip_gradient_norm=0.5, **values)
    by_hand = ByHand(network_from(GLOBAL, SMALL))
    optimiser = reference(by_hand.network.parameters())  # type: ignore[call-arg]
    for batch in batches(given):
        by_hand.gradients(batch)
        nn.utils.clip_grad_norm_(by_hand.network.parameters(), 0.5)
        optimiser.step()
    # Adam divides by the gradient's size: where that is almost zero, rounding is felt.
    assert_same(trained(given), weights_of(by_hand.network), atol=2e-4)


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_momentum_is_refused_where_it_would_be_ignored(optimiser: str) -> None:
    with pytest.raises(
        ValidationError, match=rf"momentum 0\.9 is for optimiser sgd, and {optimiser} has its own"
    ):
        settings(optimiser=optimiser, momentum=0.9)
    assert settings(optimiser="sgd", momentum=0.9).momentum == 0.9


def test_a_site_without_a_gpu_trains_in_float32_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    training._can_bf16.cache_clear()
    with caplog.at_level(logging.WARNING):
        half, again = (trained(settings(precision="bf16")) for _ in range(2))
    whole = trained(settings())
    assert all(np.array_equal(half[name], whole[name]) for name in whole)
    assert all(np.array_equal(half[name], again[name]) for name in whole)
    assert [record.message for record in caplog.records] == [
        "precision bf16 is for CUDA and this site trains on its CPU: it trains in float32"
    ]


def test_in_bf16_only_the_recurrence_is_rounded() -> None:
    """Tried on the CPU, whose autocast rounds as CUDA's does."""
    network = build(Architecture(hidden_units=16, residual=True), seed=2)
    features = torch.randn(4, 50, 40, generator=torch.Generator().manual_seed(1))
    rounded, exact = training._in_bf16(network, features), network(features)
    assert rounded.dtype == torch.float32
    error = float((rounded - exact).abs().max().detach())
    assert 1e-6 < error < 0.05
    rounded.sum().backward()  # type: ignore[no-untyped-call]
    grads = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in grads)


def test_epochs_are_told_of_and_can_be_the_last() -> None:
    network = network_from(GLOBAL, SMALL)
    seen: list[tuple[int, float, bool]] = []
    after: list[Weights] = []

    def look(epoch: int, loss: float) -> bool:
        seen.append((epoch, loss, network.training))
        after.append(weights_of(network))
        return epoch == 3

    result = train(network, [noise()], settings(local_epochs=9), SEED, CPU, after_epoch=look)
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    assert not any(training for _, _, training in seen)
    assert result.loss == seen[-1][1]
    assert_same(weights_of(network), after[-1], atol=0)
    three = train(network_from(GLOBAL, SMALL), [noise()], settings(local_epochs=3), SEED, CPU)
    assert three == result, "looking changes nothing"
    assert result.steps == len(list(batches(settings(local_epochs=3))))


def test_an_update_is_new_weights_minus_global_ones() -> None:
    update = local_update(GLOBAL, SMALL, [noise()], settings(), SEED, CPU)
    expected = trained(settings())
    assert_same(update.delta, {name: expected[name] - GLOBAL[name] for name in GLOBAL}, atol=0)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bits_for_every_model(kind: str, threads: int) -> None:
    architecture = Architecture.model_validate(
        {"kind": kind, "hidden_units": 8, "bidirectional": True, "residual": True, "input_norm": True}
    )

    def weights() -> list[NDArray[np.float32]]:
        torch.set_num_threads(threads)
        network = build(architecture, seed=0)
        train(network, [noise(1), noise(2)], settings(local_epochs=1), SEED, CPU)
        return list(weights_of(network).values())

    assert all(np.array_equal(one, two) for one, two in zip(weights(), weights(), strict=True))


def test_windows_of_one_pair_need_two_in_a_batch() -> None:
    network = build(Architecture(hidden_units=4, predicts="window"), seed=0)
    with pytest.raises(
        SettingsError, match=r"batch_windows is 1, and the CCC .* undefined.*Set batch_windows to 2"
    ):
        train(network, [noise()], settings(batch_windows=1), SEED, CPU)
    assert train(network, [noise()], settings(batch_windows=1, mse_share=1.0), SEED, CPU).steps > 0


def test_a_model_of_windows_learns_their_means() -> None:
    network = build(Architecture(hidden_units=12, layers=1, predicts="window"), seed=0)
    time = np.arange(3000) / 25
    slow = np.stack([np.sin(time / 3), np.cos(time / 4)], axis=1).astype(np.float32)
    inputs = np.random.default_rng(1).normal(0, 0.3, (3000, 40)).astype(np.float32)
    inputs[:, :2] += slow
    recording = Recording(inputs, 0.8 * slow, np.ones(3000, bool))
    losses: list[float] = []

    def note(_epoch: int, loss: float) -> bool:
        losses.append(loss)
        return False

    given = settings(
        local_epochs=20, learning_rate=0.02, window_s=2.0, batch_windows=20, clip_gradient_norm=1.0
    )
    train(network, [recording], given, SEED, CPU, after_epoch=note)
    assert losses[-1] < 0.2 < losses[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_a_gpu_the_same_seed_gives_the_same_bits(precision: str) -> None:
    from mien_client.device import choose_device

    def outcome() -> tuple[float, list[NDArray[np.float32]]]:
        network = build(Architecture(), seed=0)
        result = train(network, [noise(1, 2000)], settings(precision=precision), SEED, choose_device("cuda"))
        return result.loss, list(weights_of(network).values())

    (loss, one), (other, two) = outcome(), outcome()
    assert loss == other
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))
    cpu = train(build(Architecture(), seed=0), [noise(1, 2000)], settings(), SEED, CPU)
    assert loss == pytest.approx(cpu.loss, rel=1e-3 if precision == "float32" else 0.05)
