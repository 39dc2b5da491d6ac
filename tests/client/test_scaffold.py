"""SCAFFOLD at a site: its control variate is the mean of the gradients that its own data gave."""

import numpy as np
import pytest
import torch

from mien_client.scaffold import SiteControl
from mien_common.weights import Weights

SERVER: Weights = {"w": np.array([0.5, -1.0], np.float32), "b": np.array([0.25], np.float32)}


def test_the_first_correction_is_the_servers_control_variate() -> None:
    found = SiteControl.zero(SERVER).correction(SERVER)

    for name, array in SERVER.items():
        np.testing.assert_array_equal(found[name], array)


def test_option_two_of_the_paper() -> None:
    own: Weights = {"w": np.array([0.1, 0.2], np.float32), "b": np.array([-0.3], np.float32)}
    delta: Weights = {"w": np.array([-0.6, 0.4], np.float32), "b": np.array([0.2], np.float32)}

    control, change = SiteControl(own).after(SERVER, delta, steps=4, learning_rate=0.05)

    for name in SERVER:
        expected = own[name] - SERVER[name] + 1 / (4 * 0.05) * -delta[name]
        np.testing.assert_allclose(control.own[name], expected, rtol=1e-6)
        np.testing.assert_allclose(change[name], expected - own[name], rtol=1e-6)


def test_it_is_the_mean_gradient_of_corrected_sgd() -> None:
    """With PyTorch's SGD and autograd as the reference: K corrected steps down a quadratic."""
    generator = torch.Generator().manual_seed(3)
    curvature = torch.rand(4, generator=generator, dtype=torch.float64) + 0.5
    weights = torch.randn(4, generator=generator, dtype=torch.float64).requires_grad_()
    control = SiteControl({"w": np.array([0.3, -0.1, 0.2, 0.0], np.float32)})
    server: Weights = {"w": np.array([-0.2, 0.4, 0.1, 0.3], np.float32)}
    correction = torch.from_numpy(control.correction(server)["w"]).double()
    optimiser = torch.optim.SGD([weights], lr=0.05)
    before, gradients = weights.detach().clone(), []
    for _ in range(7):
        optimiser.zero_grad()
        (0.5 * (curvature * weights**2).sum()).backward()  # type: ignore[no-untyped-call]
        assert weights.grad is not None
        gradients.append(weights.grad.clone())
        weights.grad.add_(correction)
        optimiser.step()

    delta: Weights = {"w": (weights.detach() - before).numpy().astype(np.float32)}
    found, _ = control.after(server, delta, steps=7, learning_rate=0.05)

    np.testing.assert_allclose(found.own["w"], torch.stack(gradients).mean(dim=0), rtol=1e-5)


def test_arrays_that_stay_at_the_site_have_no_control_variate() -> None:
    control = SiteControl.zero({"w": SERVER["w"]})
    delta: Weights = {"w": np.ones(2, np.float32), "head": np.ones(3, np.float32)}

    after, change = control.after(SERVER, delta, steps=1, learning_rate=0.1)

    assert after.own.keys() == change.keys() == control.correction(SERVER).keys() == {"w"}


@pytest.mark.parametrize(("steps", "learning_rate"), [(1, 1.0), (50, 3e-3)])
def test_a_site_that_did_not_move_takes_the_servers_direction_off(steps: int, learning_rate: float) -> None:
    delta: Weights = {name: np.zeros_like(array) for name, array in SERVER.items()}

    after, _ = SiteControl.zero(SERVER).after(SERVER, delta, steps, learning_rate)

    for name, array in SERVER.items():
        np.testing.assert_array_equal(after.own[name], -array)
