"""Network weights as named float32 arrays: checked, compared, and kept as safetensors.

No pickle, from the wire or from disk: weights travel as ``.npy`` payloads inside Flower's
ArrayRecord (read with ``allow_pickle=False``) and rest as safetensors.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import safetensors.numpy
import torch
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray
from safetensors import SafetensorError

from mien_common.architecture import AffectNetwork, Architecture, build
from mien_common.errors import ModelError, UpdateRejectedError

Weights = dict[str, NDArray[np.float32]]

FLAT: Final = "flat"
"""Name of the one array in a record of weights."""

NPY_HEADER_BYTES: Final = 256
"""Room for a ``.npy`` header around the data."""


def weights_of(network: AffectNetwork) -> Weights:
    """A copy of the network's parameters."""
    return {
        name: tensor.detach().cpu().numpy().astype(np.float32, copy=True)
        for name, tensor in network.state_dict().items()
    }


def load_weights(network: AffectNetwork, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Put ``weights`` into ``network``; they must have passed :func:`check_weights`."""
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})


def shapes_of(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array that ``architecture`` has."""
    with torch.device("meta"):
        network = AffectNetwork(architecture)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check_weights(weights: Mapping[str, NDArray[np.float32]], architecture: Architecture) -> None:
    """Raise UpdateRejectedError unless names, shapes and types fit and every number is finite."""
    expected = shapes_of(architecture)
    if set(weights) != set(expected):
        raise UpdateRejectedError(
            f"the arrays are {sorted(weights)}, the architecture has {sorted(expected)}"
        )
    for name, shape in expected.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float32:
            raise UpdateRejectedError(
                f"array {name} is {array.dtype}{list(array.shape)}, expected float32{list(shape)}"
            )
        if not np.isfinite(array).all():
            raise UpdateRejectedError(f"array {name} holds NaN or infinite numbers")


def norm_of(weights: Mapping[str, NDArray[np.float32]]) -> float:
    """Euclidean norm over all arrays."""
    return float(np.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in weights.values())))


def to_record(weights: Mapping[str, NDArray[np.float32]]) -> ArrayRecord:
    """Weights as they cross the wire: one flat vector, in the architecture's order.

    One array, because Flower moves every array as objects of its own, each with its own signed calls.
    """
    flat = [np.ascontiguousarray(array, np.float32).ravel() for array in weights.values()]
    return ArrayRecord({FLAT: Array(np.concatenate(flat))})


def from_record(record: ArrayRecord, architecture: Architecture) -> Weights:
    """Checked weights out of a Flower record.

    Sizes are bounded before anything is decoded.

    Raises
    ------
    UpdateRejectedError
        Wrong names, shapes, types or sizes, or numbers that are not finite.
    """
    shapes = shapes_of(architecture)
    count = sum(math.prod(shape) for shape in shapes.values())
    if set(record) != {FLAT}:
        raise UpdateRejectedError(f"the arrays are {sorted(record)[:8]}, expected only {FLAT!r}")
    limit = count * 4 + NPY_HEADER_BYTES
    if len(record[FLAT].data) > limit:
        raise UpdateRejectedError(f"{len(record[FLAT].data)} bytes of weights, the architecture has {limit}")
    try:
        flat = record[FLAT].numpy()
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise UpdateRejectedError(f"the weights cannot be decoded: {error}") from error
    if flat.shape != (count,) or flat.dtype != np.float32:
        raise UpdateRejectedError(
            f"the weights are {flat.dtype}{list(flat.shape)}, expected float32[{count}]"
        )
    weights: Weights = {}
    position = 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        weights[name] = flat[position : position + size].reshape(shape)
        position += size
    check_weights(weights, architecture)
    return weights


def to_safetensors(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Weights as a safetensors file's content."""
    return safetensors.numpy.save(dict(weights))


def from_safetensors(content: bytes, architecture: Architecture) -> Weights:
    """Checked weights out of a safetensors file's content.

    Raises
    ------
    ModelError
        The content is damaged or belongs to another architecture.
    """
    try:
        weights: Weights = safetensors.numpy.load(content)
        check_weights(weights, architecture)
    except (SafetensorError, UpdateRejectedError, ValueError, KeyError) as error:
        raise ModelError(f"the model's weights cannot be used: {error}. Fetch the model again.") from error
    return weights


def network_from(weights: Mapping[str, NDArray[np.float32]], architecture: Architecture) -> AffectNetwork:
    """A network ready to predict with ``weights``."""
    network = build(architecture, seed=0)
    load_weights(network, weights)
    return network.eval()
