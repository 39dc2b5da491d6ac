"""Network weights as named float32 arrays: checked, compared, and kept as safetensors.

No pickle, from the wire or from disk: weights travel as ``.npy`` payloads inside Flower's
ArrayRecord, of which exactly one form is read, and rest as safetensors.
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

from mien_common.architecture import Architecture
from mien_common.errors import ModelError, UpdateRejectedError
from mien_common.network import AffectNetwork, build

Weights = dict[str, NDArray[np.float32]]

FLAT: Final = "flat"
"""Name of the one array in a record of weights."""

NPY_HEADER_BYTES: Final = 256
"""Room for a ``.npy`` header before the data."""

_NPY_MAGIC: Final = b"\x93NUMPY\x01\x00"


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
    flat = _decoded(record[FLAT], count)
    weights: Weights = {}
    position = 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        weights[name] = flat[position : position + size].reshape(shape)
        position += size
    check_weights(weights, architecture)
    return weights


def _decoded(array: Array, count: int) -> NDArray[np.float32]:
    """The ``count`` float32 numbers of a flat array, which says nothing else.

    Read here and not by NumPy, whose reader also takes zip archives, makes room for as many numbers as a
    header claims, and passes over bytes that follow the last number.
    """
    labels = (array.dtype, tuple(array.shape), array.stype)
    if labels != ("float32", (count,), "numpy.ndarray"):
        raise UpdateRejectedError(
            f"the weights are {str(array.dtype)[:32]}{list(array.shape)[:8]}, expected float32[{count}]"
        )
    data = array.data
    header_bytes = len(data) - 4 * count
    if not len(_NPY_MAGIC) + 2 < header_bytes <= NPY_HEADER_BYTES:
        raise UpdateRejectedError(f"{len(data)} bytes of weights, the architecture has {4 * count}")
    said = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count},), }}".encode()
    room = header_bytes - len(_NPY_MAGIC) - 2
    header = _NPY_MAGIC + room.to_bytes(2, "little") + said.ljust(room - 1) + b"\n"
    if data[:header_bytes] != header:
        raise UpdateRejectedError("the weights cannot be decoded: not one array of float32 numbers")
    return np.frombuffer(data, "<f4", offset=header_bytes).astype(np.float32)


def to_safetensors(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Weights as a safetensors file's content."""
    return safetensors.numpy.save(dict(weights))


def from_safetensors(content: bytes, architecture: Architecture) -> Weights:
    """Checked weights out of a safetensors file's content.

    In the architecture's order, whatever the file's: :func:`to_record` writes them one after another.

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
    return {name: weights[name] for name in shapes_of(architecture)}


def network_from(weights: Mapping[str, NDArray[np.float32]], architecture: Architecture) -> AffectNetwork:
    """A network ready to predict with ``weights``."""
    network = build(architecture, seed=0)
    load_weights(network, weights)
    return network.eval()
