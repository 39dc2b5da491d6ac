"""The CPU's own recurrence gives PyTorch's numbers, forwards and backwards."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from mien_client import recurrence
from mien_client.recurrence import layer
from mien_client.recurrence.gru import GruLayer
from mien_client.recurrence.rnn import RnnLayer
from mien_common.architecture import Architecture
from mien_common.network import AffectNetwork, build

LAYERS = {"gru": (GruLayer, 3), "rnn": (RnnLayer, 1)}
Network = Callable[[Tensor], Tensor]


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param, "PyTorch's threads are given back"
    torch.set_num_threads(before)


def gradients(network: AffectNetwork, forward: Network, features: Tensor) -> list[Tensor]:
    """The prediction, and the gradients of some smooth number by features and weights."""
    network.zero_grad()
    features = features.clone().requires_grad_()
    prediction = forward(features)
    weight = torch.linspace(-1, 2, prediction.numel(), dtype=prediction.dtype).view_as(prediction)
    (weight * prediction).square().sum().backward()  # type: ignore[no-untyped-call]
    found = [features.grad, *(parameter.grad for parameter in network.parameters())]
    return [prediction.detach(), *(gradient for gradient in found if gradient is not None)]


VARIANTS = [
    Architecture(kind=kind, bidirectional=both, layers=layers, hidden_units=7, channels=5)
    for kind in ("rnn", "lstm", "gru")
    for both in (False, True)
    for layers in (1, 3)
] + [
    Architecture(hidden_units=7, channels=5, residual=True, input_norm=True),
    Architecture(kind="rnn", hidden_units=7, channels=5, residual=True, input_norm=True, bidirectional=True),
    Architecture(hidden_units=7, channels=5, predicts="window"),
    Architecture(hidden_units=7, channels=5, predicts="window", bidirectional=True, input_norm=True),
]


@pytest.mark.parametrize("architecture", VARIANTS, ids=lambda given: given.model_dump_json())
def test_outputs_and_all_gradients_are_those_of_pytorchs_layers(
    architecture: Architecture, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "_BLOCK_COLUMNS", 12)  # four frames: several blocks, the last one shorter
    network = build(architecture, seed=3).double()
    features = torch.randn(3, 18, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = gradients(network, network, features)
    found = gradients(network, lambda given: recurrence.forward(network, given), features)
    assert len(found) == len(expected) == 2 + len(list(network.parameters())), "every weight has a gradient"
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["rnn", "gru"])
@pytest.mark.parametrize("both", [False, True])
def test_in_single_precision_they_agree_to_1e_5_over_ten_seconds(kind: str, both: bool, threads: int) -> None:
    network = build(Architecture.model_validate({"kind": kind, "bidirectional": both}), seed=2)
    features = torch.randn(8, 250, 40, generator=torch.Generator().manual_seed(1))
    expected = gradients(network, network, features)
    found = gradients(network, lambda given: recurrence.forward(network, given), features)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max() / other.abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ["rnn", "gru"])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_finite_differences(kind: str, reverse: bool) -> None:
    function, gates = LAYERS[kind]
    generator = torch.Generator().manual_seed(5)
    shapes = [(6, 3, 2), (4 * gates, 3), (4 * gates, 4), (4 * gates,), (4 * gates,)]
    arrays = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes
    ]
    assert torch.autograd.gradcheck(lambda *given: function.apply(*given, reverse), arrays)  # type: ignore[no-untyped-call]


def test_a_layer_whose_products_are_cut_into_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    recurrent = nn.GRU(6, 8, batch_first=True).double()
    inputs = torch.randn(9, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected, _ = recurrent(inputs.permute(2, 0, 1))
    monkeypatch.setattr(layer, "_ONE_THREAD_PRODUCT", 60)
    found = recurrence.recur(recurrent, inputs)
    assert torch.allclose(found.permute(2, 0, 1), expected, rtol=0, atol=1e-12)


def test_the_same_numbers_to_the_last_bit_whatever_the_threads() -> None:
    """What a second thread does beside is the same work in the same order."""
    network = build(Architecture(hidden_units=16), seed=4)
    features = torch.randn(8, 300, 40, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        hidden = recurrence.recur(network.recurrence, features.permute(1, 2, 0))
        network.zero_grad()
        hidden.square().sum().backward()  # type: ignore[no-untyped-call]
        grads = [parameter.grad for parameter in network.recurrence.parameters()]
        found.append([hidden.detach(), *(gradient for gradient in grads if gradient is not None)])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.mark.parametrize(
    ("architecture", "windows", "ours"),
    [
        (Architecture(), 32, True),
        (Architecture(kind="rnn", bidirectional=True), 1, True),
        (Architecture(kind="lstm"), 32, False),
        (Architecture(hidden_units=1024), 32, False),
        (Architecture(), 1000, False),
    ],
)
def test_it_is_used_where_it_is_faster(architecture: Architecture, windows: int, ours: bool) -> None:
    assert recurrence.suits(build(architecture, seed=0).recurrence, windows) is ours


def test_a_gradient_can_be_asked_for_twice() -> None:
    network = build(Architecture(hidden_units=4, channels=3), seed=1)
    features = torch.randn(2, 10, 3, generator=torch.Generator().manual_seed(1))
    total = recurrence.forward(network, features).sum()
    weight = network.recurrence.weight_hh_l0
    (first,) = torch.autograd.grad(total, weight, retain_graph=True)
    (second,) = torch.autograd.grad(total, weight)
    assert torch.equal(first, second)
