"""A network as an ONNX graph, built from its weights, so that it runs without PyTorch and without Mien.

Enters: weights and architecture. Leaves: the bytes of ``model.onnx``; the same weights give the same bytes.

One graph serves a recording and a stream alike:

    features (batch, frames, channels)  ─►  prediction (batch, frames, 2), or (batch, 2) of a window
    hidden, cell, seen_…  ─►  next_hidden, next_cell, next_seen_…         only where the architecture streams

Zeros are the states before the first frame; a stream gives each call the states that the one before left.
Built by hand and not by an exporter: the operators are the recurrences themselves, and nothing is traced.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from mien_common.architecture import Architecture
from mien_common.errors import ModelError
from mien_common.schema import TARGETS

OPSET: Final = 17
"""The first with layer normalisation; runtimes from 2022 on have it."""
_IR_VERSION: Final = 8
"""The file format of that opset's time."""

_GATES: Final = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""Where ONNX's gates stand among PyTorch's: LSTM i, o, f, c of i, f, g, o; GRU z, r, h of r, z, n."""
_LAYER_NORM_EPSILON: Final = 1e-5
"""PyTorch's default, which the network keeps."""
_CARRIED: Final = 2
"""Frames that a convolution of kernel 3 remembers."""

Weights = Mapping[str, NDArray[np.float32]]


class _Graph:
    """Nodes and constants, as they come."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def add(self, operator: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """One node; the name of its first output."""
        names = list(outputs) or [f"{operator.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def array(self, name: str) -> str:
        """The network's array ``name`` as a constant."""
        return self.constant(name, self.weights[name])

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def integers(self, *values: int) -> str:
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def input(self, name: str, shape: Sequence[str | int]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def output(self, name: str, shape: Sequence[str | int]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def state(self, name: str, architecture: Architecture) -> str:
        """A state as it comes in; a node whose output is ``next_`` and its name makes what goes out."""
        shape = state_shapes(architecture)[name]
        self.output(f"next_{name}", shape)
        return self.input(name, shape)


def to_onnx(weights: Weights, architecture: Architecture, facts: Mapping[str, str]) -> bytes:
    """The network of ``architecture`` with ``weights``, as ``model.onnx``.

    Parameters
    ----------
    weights : checked against the architecture.
    facts : what the file says of itself, by name.

    Raises
    ------
    ModelError
        The graph would not hold.
    """
    graph = _Graph(weights)
    features = graph.input("features", ("batch", "frames", architecture.channels))
    frames = ["frames"] if architecture.predicts == "frames" else []
    graph.output("prediction", ["batch", *frames, len(TARGETS)])
    if architecture.input_norm:
        scaled = graph.add("Mul", features, graph.array("input_norm.weight"))
        features = graph.add("Add", scaled, graph.array("input_norm.bias"))
    for block in range(2 if architecture.residual else 0):
        features = _residual_block(graph, features, block, architecture)
    hidden = _recurrence(graph, features, architecture)
    head = graph.constant("head.weight", weights["head.weight"].T)
    product = graph.add("Add", graph.add("MatMul", hidden, head), graph.array("head.bias"))
    graph.add("Tanh", product, outputs=["prediction"])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "mien",
            graph.inputs,
            graph.outputs,
            [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        producer_name="mien",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
    )
    helper.set_model_props(model, dict(facts))
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, ValueError) as error:
        raise ModelError(f"no ONNX graph can be made of this model: {error}") from error
    return bytes(model.SerializeToString(deterministic=True))


def state_shapes(architecture: Architecture) -> dict[str, tuple[str | int, ...]]:
    """Shape of each state that a stream carries, by the name of its input."""
    if not architecture.streams:
        return {}
    recurrent = (architecture.layers, "batch", architecture.hidden_units)
    shapes: dict[str, tuple[str | int, ...]] = {"hidden": recurrent}
    if architecture.kind == "lstm":
        shapes["cell"] = recurrent
    for block in range(2 if architecture.residual else 0):
        for number in (1, 2):
            shapes[f"seen_{block}_{number}"] = ("batch", _CARRIED, architecture.channels)
    return shapes


def _residual_block(graph: _Graph, features: str, block: int, architecture: Architecture) -> str:
    inner = features
    for number in (1, 2):
        inner = _convolution(graph, inner, block, number, architecture)
    return graph.add("Add", features, inner)


def _convolution(graph: _Graph, features: str, block: int, number: int, architecture: Architecture) -> str:
    """Norm, ReLU, and a convolution over time, of (batch, frames, channels)."""
    norm, convolution = f"blocks.{block}.norm_{number}", f"blocks.{block}.convolution_{number}"
    normed = graph.add(
        "LayerNormalization",
        *(features, graph.array(f"{norm}.weight"), graph.array(f"{norm}.bias")),
        axis=-1,
        epsilon=_LAYER_NORM_EPSILON,
    )
    seen = graph.add("Relu", normed)
    pads = [1, 1] if architecture.bidirectional else [_CARRIED, 0]
    if architecture.streams:
        name = f"seen_{block}_{number}"
        seen = graph.add("Concat", graph.state(name, architecture), seen, axis=1)
        last = (graph.integers(-_CARRIED), graph.integers(np.iinfo(np.int64).max), graph.integers(1))
        graph.add("Slice", seen, *last, outputs=[f"next_{name}"])
        pads = [0, 0]
    arrays = (graph.array(f"{convolution}.weight"), graph.array(f"{convolution}.bias"))
    turned = graph.add("Transpose", seen, perm=[0, 2, 1])
    return graph.add("Transpose", graph.add("Conv", turned, *arrays, pads=pads), perm=[0, 2, 1])


def _recurrence(graph: _Graph, features: str, architecture: Architecture) -> str:
    """(batch, frames, directions × units), or (batch, directions × units) of a window."""
    kinds = ("hidden", "cell") if architecture.kind == "lstm" else ("hidden",)
    states = {kind: _split(graph, kind, architecture) for kind in kinds} if architecture.streams else {}
    left: dict[str, list[str]] = {kind: [] for kind in kinds}
    sequence = graph.add("Transpose", features, perm=[1, 0, 2])  # (frames, batch, channels)
    for layer in range(architecture.layers):
        outputs = [f"sequence_{layer}", *(f"{kind}_after_{layer}" for kind in kinds)]
        extra = {"linear_before_reset": 1} if architecture.kind == "gru" else {}
        graph.add(
            architecture.kind.upper(),
            *(sequence, *_layer_arrays(graph, layer, architecture)),
            *([""] if states else []),  # no sequence lengths: every sequence is whole
            *(states[kind][layer] for kind in states),
            outputs=outputs,
            direction="bidirectional" if architecture.bidirectional else "forward",
            hidden_size=architecture.hidden_units,
            **extra,
        )
        for kind, name in zip(kinds, outputs[1:], strict=True):
            left[kind].append(name)
        # (frames, directions, batch, units) to (frames, batch, directions × units)
        turned = graph.add("Transpose", outputs[0], perm=[0, 2, 1, 3])
        sequence = graph.add("Reshape", turned, graph.integers(0, 0, -1))
    for kind in states:
        graph.add("Concat", *left[kind], outputs=[f"next_{kind}"], axis=0)
    if architecture.predicts == "window":
        ends = graph.add("Transpose", left["hidden"][-1], perm=[1, 0, 2])  # where each direction ends
        return graph.add("Reshape", ends, graph.integers(0, -1))
    return graph.add("Transpose", sequence, perm=[1, 0, 2])


def _split(graph: _Graph, kind: str, architecture: Architecture) -> list[str]:
    """The state ``kind`` as an input, cut into the layers' parts."""
    name = graph.state(kind, architecture)
    if architecture.layers == 1:
        return [name]
    parts = [f"{kind}_before_{layer}" for layer in range(architecture.layers)]
    graph.add("Split", name, graph.integers(*[1] * architecture.layers), outputs=parts, axis=0)
    return parts


def _layer_arrays(graph: _Graph, layer: int, architecture: Architecture) -> tuple[str, str, str]:
    """The layer's weights in ONNX's form: a direction after the other, gates in its order, biases in one."""
    gates = _GATES[architecture.kind]
    suffixes = [f"_l{layer}", f"_l{layer}_reverse"][: 2 if architecture.bidirectional else 1]

    def ordered(name: str, suffix: str) -> NDArray[np.float32]:
        parts = np.split(graph.weights[f"recurrence.{name}{suffix}"], len(gates))
        return np.concatenate([parts[gate] for gate in gates])

    inputs = np.stack([ordered("weight_ih", suffix) for suffix in suffixes])
    states = np.stack([ordered("weight_hh", suffix) for suffix in suffixes])
    biases = np.stack(
        [np.concatenate([ordered("bias_ih", suffix), ordered("bias_hh", suffix)]) for suffix in suffixes]
    )
    return (
        graph.constant(f"recurrence.input_{layer}", inputs),
        graph.constant(f"recurrence.state_{layer}", states),
        graph.constant(f"recurrence.bias_{layer}", biases),
    )
