"""Sites trained side by side: each comes to what the deployed training makes of it alone."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mien_client.inference import evaluate
from mien_client.losses import loss_of
from mien_client.rated_recording import Recording
from mien_client.training import LocalUpdate, local_update
from mien_common.architecture import Architecture
from mien_common.errors import SessionError
from mien_common.messages import TrainingSettings
from mien_common.network import build
from mien_common.weights import Weights, weights_of
from mien_lab.side_by_side import moments_side_by_side, suits, updates_side_by_side
from mien_lab.side_by_side_losses import losses_of

CPU = torch.device("cpu")
GRU = Architecture(hidden_units=6, layers=1)
SGD = TrainingSettings(
    local_epochs=2, learning_rate=0.1, window_s=1.0, batch_windows=3, optimiser="sgd", momentum=0.5
)
ADAM = TrainingSettings(local_epochs=2, learning_rate=1e-2, window_s=1.0, batch_windows=3)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def recording(seed: int, frames: int) -> Recording:
    """Features that tell something of the ratings; a tenth of the frames in a row does not count."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(frames, GRU.channels)).astype(np.float32)
    targets = np.tanh(np.cumsum(inputs[:, :2], axis=0) / 5).astype(np.float32)
    gone = int(generator.integers(frames))
    counts = np.ones(frames, bool)
    counts[gone : gone + frames // 10] = False
    return Recording(inputs, np.where(counts[:, None], targets, np.float32(0.0)), counts)


SITES = [
    [recording(number, frames) for number, frames in enumerate(lengths, 10 * site)]
    for site, lengths in enumerate([(90,), (40, 70), (26,), (200,), (90,)])
]
"""From one batch of two windows to three batches an epoch."""
SEEDS = [100 + site for site in range(len(SITES))]


def alone(weights: Weights, architecture: Architecture, settings: TrainingSettings) -> list[LocalUpdate]:
    return [
        local_update(weights, architecture, recordings, settings, seed, CPU)
        for recordings, seed in zip(SITES, SEEDS, strict=True)
    ]


def flat(update: LocalUpdate) -> NDArray[np.float32]:
    return np.concatenate([array.ravel() for array in update.delta.values()])


def same_results(ours: list[LocalUpdate], theirs: list[LocalUpdate]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.result.frames, one.result.steps) == (other.result.frames, other.result.steps)
        assert one.result.loss == pytest.approx(other.result.loss, rel=1e-5)
        assert {name: array.shape for name, array in one.delta.items()} == {
            name: array.shape for name, array in other.delta.items()
        }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_gradient_norm": 1e-2},
        {"clip_gradient_norm": 100.0, "momentum": 0.0},
        {"proximal_mu": 0.7, "weight_decay": 0.01},
        {"mse_share": 0.3},
        {"mse_share": 1.0},
        {"batch_windows": 64, "local_epochs": 3},
        {"batch_windows": 1, "window_s": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("layers", [1, 2])
def test_an_update_is_the_deployed_one(changes: dict[str, float], layers: int) -> None:
    """To 1e-5 of an update's largest number, or the last bit of a float32 weight below 1, where it is tiny.

    With SGD, whose steps are as large as the gradients.
    """
    settings = SGD.model_copy(update=changes)
    architecture = GRU.model_copy(update={"layers": layers})
    weights = weights_of(build(architecture, 1))
    ours, theirs = (
        updates_side_by_side(weights, architecture, SITES, settings, SEEDS),
        alone(weights, architecture, settings),
    )
    same_results(ours, theirs)
    assert len({one.result.steps for one in ours}) > 1 or settings.batch_windows == 64
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            flat(one), flat(other), rtol=0, atol=6e-8 + 1e-5 * np.abs(flat(other)).max()
        )


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
@pytest.mark.parametrize("mu", [0.0, 0.7])
def test_adam_too_but_for_numbers_that_hardly_have_a_gradient(optimiser: str, mu: float) -> None:
    """Adam divides a gradient by its own size, and with it the rounding of one that is nearly 0."""
    settings = ADAM.model_copy(update={"optimiser": optimiser, "weight_decay": 0.01, "proximal_mu": mu})
    weights = weights_of(build(GRU, 1))
    ours, theirs = (
        updates_side_by_side(weights, GRU, SITES, settings, SEEDS),
        alone(weights, GRU, settings),
    )
    same_results(ours, theirs)
    made, expected = (np.stack([flat(one) for one in updates]) for updates in (ours, theirs))
    away = np.abs(made - expected) / np.abs(expected).max(axis=1, keepdims=True)
    assert np.quantile(away, 0.99) < 1e-5
    assert away.max() < 1e-2
    assert np.all(np.linalg.norm(made - expected, axis=1) < 2e-4 * np.linalg.norm(expected, axis=1))


def test_no_site_is_changed_by_who_is_beside_it() -> None:
    """Not even by one whose features are rubbish."""
    weights = weights_of(build(GRU, 1))
    before = updates_side_by_side(weights, GRU, SITES[:2], ADAM, SEEDS[:2])
    wild = Recording(SITES[1][0].inputs * 1e6, SITES[1][0].targets, SITES[1][0].counts)
    after = updates_side_by_side(weights, GRU, [SITES[0], [wild, *SITES[1][1:]]], ADAM, SEEDS[:2])
    np.testing.assert_array_equal(flat(before[0]), flat(after[0]))
    assert not np.array_equal(flat(before[1]), flat(after[1]))


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(kind="lstm", hidden_units=4, layers=1),
        Architecture(hidden_units=4, layers=1, bidirectional=True),
        Architecture(hidden_units=4, layers=1, residual=True),
        Architecture(hidden_units=4, layers=1, input_norm=True),
    ],
    ids=lambda architecture: architecture.in_words,
)
def test_other_models_are_trained_one_site_after_another(architecture: Architecture) -> None:
    assert not suits(architecture, ADAM)
    assert suits(GRU, ADAM)
    weights = weights_of(build(architecture, 1))
    ours = updates_side_by_side(weights, architecture, SITES, ADAM, SEEDS)
    for one, other in zip(ours, alone(weights, architecture, ADAM), strict=True):
        np.testing.assert_array_equal(flat(one), flat(other))


def test_a_site_with_nothing_to_train_on_is_refused_as_a_deployed_one_is() -> None:
    unseen = Recording(SITES[0][0].inputs, SITES[0][0].targets, np.zeros(90, bool))
    with pytest.raises(SessionError, match="no frame"):
        updates_side_by_side(weights_of(build(GRU, 1)), GRU, [SITES[1], [unseen]], ADAM, SEEDS[:2])


@pytest.mark.parametrize("mse_share", [0.0, 0.4, 1.0])
def test_losses_are_the_deployed_loss_of_each_site(mse_share: float) -> None:
    generator = torch.Generator().manual_seed(3)
    prediction, target = (torch.rand(4, 3, 20, 2, generator=generator, dtype=torch.double) for _ in range(2))
    counts = torch.rand(4, 3, 20, generator=generator) > 0.3
    counts[2] = False
    losses = losses_of(prediction, target, counts, mse_share)
    for site in range(4):
        deployed = loss_of(prediction[site], target[site], counts[site], mse_share)
        assert float(losses[site]) == pytest.approx(float(deployed), rel=1e-12)


@pytest.mark.parametrize("architecture", [GRU, GRU.model_copy(update={"bidirectional": True})])
def test_sums_of_recordings_are_the_deployed_ones(architecture: Architecture) -> None:
    network = build(architecture, 1)
    unseen = Recording(SITES[0][0].inputs, SITES[0][0].targets, np.zeros(90, bool))
    recordings = [site[0] for site in SITES] + [unseen]
    ours = moments_side_by_side(network, recordings)
    for made, given in zip(ours, recordings, strict=True):
        expected = evaluate(network, [given], CPU)
        assert len(made) == len(expected)
        for one, other in zip(made, expected, strict=True):
            for name in ("valence", "arousal"):
                np.testing.assert_allclose(
                    [*vars(getattr(one, name)).values()],
                    [*vars(getattr(other, name)).values()],
                    rtol=1e-5,
                    atol=1e-5,
                )
