"""``model.onnx`` in onnxruntime gives PyTorch's numbers: every architecture, whole and as a stream."""

import itertools
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from mien_common.architecture import Architecture
from mien_common.network import AffectNetwork, build, normalisation_arrays
from mien_common.weights import weights_of
from mien_server.publishing.onnx_graph import OPSET, state_shapes, to_onnx

TOLERANCE = 1e-5

Array = NDArray[np.float32]

EVERY = [
    Architecture.model_validate(
        {
            "kind": kind,
            "bidirectional": both,
            "residual": residual,
            "input_norm": norm,
            "predicts": predicts,
            "layers": 1 if norm else 3,
            "hidden_units": 9,
        }
    )
    for kind, both, residual, norm, predicts in itertools.product(
        ("rnn", "lstm", "gru"), (False, True), (False, True), (False, True), ("frames", "window")
    )
]
STREAMING = [architecture for architecture in EVERY if architecture.streams]


def in_words(architecture: Architecture) -> str:
    return architecture.in_words.replace(" ", "-") + "-normed" * architecture.input_norm


def trained(architecture: Architecture) -> AffectNetwork:
    """A network whose every array differs from what it began as: biases and normalisations count too."""
    network = build(architecture, seed=3).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, array in network.named_parameters():
            spread = 0.5 if name in normalisation_arrays(architecture) else 0.1
            array.add_(torch.randn(array.shape, generator=generator), alpha=spread)
    return network


def session_of(network: AffectNetwork) -> onnxruntime.InferenceSession:
    content = to_onnx(weights_of(network), network.architecture, {"mien.schema": "au-v1"})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def zeros(architecture: Architecture, batch: int) -> dict[str, Array]:
    return {
        name: np.zeros([batch if size == "batch" else int(size) for size in shape], np.float32)
        for name, shape in state_shapes(architecture).items()
    }


def features_of(batch: int, frames: int, seed: int = 0) -> Array:
    """Features of a face that is away for a while, and whose absence is zeros."""
    features = 2 * np.random.default_rng(seed).standard_normal((batch, frames, 40)).astype(np.float32)
    features[:, frames // 3 : frames // 2] = 0.0
    return features


def streamed(
    session: onnxruntime.InferenceSession, features: Array, states: dict[str, Array], chunk: int
) -> Array:
    names = [output.name for output in session.get_outputs()]
    predictions = []
    for start in range(0, features.shape[1], chunk):
        found = dict(
            zip(
                names,
                session.run(names, {"features": features[:, start : start + chunk], **states}),
                strict=True,
            )
        )
        predictions.append(found["prediction"])
        states = {name: found[f"next_{name}"] for name in states}
    return np.concatenate(predictions, axis=1)


@pytest.mark.parametrize("architecture", EVERY, ids=in_words)
def test_a_batch_of_recordings(architecture: Architecture) -> None:
    network = trained(architecture)
    session = session_of(network)
    for batch, frames in ((1, 1), (1, 2), (3, 120)):
        features = features_of(batch, frames)
        (found,) = session.run(["prediction"], {"features": features, **zeros(architecture, batch)})
        with torch.inference_mode():
            expected = network(torch.from_numpy(features)).numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < TOLERANCE
        assert frames < 100 or expected.std() > 0.01, "numbers worth comparing"


@pytest.mark.parametrize("architecture", STREAMING, ids=in_words)
@pytest.mark.parametrize("chunk", [1, 7])
def test_a_stream_in_chunks_of_any_length(architecture: Architecture, chunk: int) -> None:
    network = trained(architecture)
    features = features_of(2, 100)
    found = streamed(session_of(network), features, zeros(architecture, 2), chunk)
    state, expected = None, []
    with torch.inference_mode():
        for frame in range(features.shape[1]):
            prediction, state = network.step(torch.from_numpy(features[:, frame]), state)
            expected.append(prediction.numpy())
    assert np.abs(found - np.stack(expected, axis=1)).max() < TOLERANCE


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_long_stream_does_not_drift(kind: str) -> None:
    architecture = Architecture.model_validate({"kind": kind, "residual": True, "input_norm": True})
    network = trained(architecture)
    features = features_of(1, 5000, seed=2)
    found = streamed(session_of(network), features, zeros(architecture, 1), 1)
    with torch.inference_mode():
        expected = network(torch.from_numpy(features)).numpy()
    assert np.abs(found - expected).max() < TOLERANCE


def test_what_does_not_stream_asks_for_no_state() -> None:
    session = session_of(trained(Architecture(bidirectional=True, residual=True)))
    assert [given.name for given in session.get_inputs()] == ["features"]
    assert [given.name for given in session.get_outputs()] == ["prediction"]


def test_the_file_says_what_it_is_and_is_the_same_each_time() -> None:
    network = trained(Architecture(kind="lstm"))
    facts = {"mien.schema": "au-v1", "mien.rate_hz": "25.0"}
    contents = {to_onnx(weights_of(network), network.architecture, facts) for _ in range(2)}
    (content,) = contents
    model: Any = onnx.load_from_string(content)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert {entry.key: entry.value for entry in model.metadata_props} == facts
    assert [given.name for given in model.graph.input] == ["features", "hidden", "cell"]
    assert [given.name for given in model.graph.output] == ["prediction", "next_hidden", "next_cell"]
