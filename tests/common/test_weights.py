"""Weights on the wire and on disk: what goes in comes out, and nothing else is taken."""

import io
import json
import pickle
import struct
from collections.abc import Callable

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st

from mien_common.architecture import Architecture
from mien_common.errors import ModelError, UpdateRejectedError
from mien_common.network import build
from mien_common.weights import (
    FLAT,
    Weights,
    check_weights,
    from_record,
    from_safetensors,
    network_from,
    norm_of,
    to_record,
    to_safetensors,
    weights_of,
)

SMALL = Architecture(channels=3, hidden_units=2, layers=1)
WEIGHTS = weights_of(build(SMALL, seed=5))
COUNT = sum(array.size for array in WEIGHTS.values())


def record_of(array: np.ndarray) -> ArrayRecord:
    return ArrayRecord({FLAT: Array(array)})


def record_of_bytes(data: bytes) -> ArrayRecord:
    return ArrayRecord({FLAT: Array("float32", (COUNT,), "numpy.ndarray", data)})


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def test_come_back_from_the_wire_unchanged() -> None:
    assert same(from_record(to_record(WEIGHTS), SMALL), WEIGHTS)


def test_come_back_from_disk_unchanged() -> None:
    assert same(from_safetensors(to_safetensors(WEIGHTS), SMALL), WEIGHTS)


def test_weights_from_a_file_are_in_the_order_in_which_they_are_sent() -> None:
    """The wire has one flat vector: in another order its numbers would land in other places."""
    found = from_safetensors(to_safetensors(WEIGHTS), SMALL)
    assert same(from_record(to_record(found), SMALL), WEIGHTS)


def test_come_back_from_a_network_unchanged() -> None:
    assert same(weights_of(network_from(WEIGHTS, SMALL)), WEIGHTS)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_every_variant_comes_back_from_wire_and_disk(kind: str, bidirectional: bool, residual: bool) -> None:
    architecture = Architecture.model_validate(
        {
            "kind": kind,
            "channels": 3,
            "hidden_units": 2,
            "bidirectional": bidirectional,
            "residual": residual,
            "input_norm": residual,
        }
    )
    network = build(architecture, seed=5)
    weights = weights_of(network)
    features = torch.ones(1, 4, 3)
    for read in (
        from_record(to_record(weights), architecture),
        from_safetensors(to_safetensors(weights), architecture),
    ):
        assert same(read, weights)
        assert torch.equal(network_from(read, architecture)(features), network(features))


def test_are_a_copy_that_later_training_does_not_change() -> None:
    network = build(SMALL, seed=5)
    kept = weights_of(network)
    next(network.parameters()).data.fill_(3.0)
    assert same(kept, WEIGHTS)


def test_norm_is_that_of_one_long_vector() -> None:
    flat = np.concatenate([array.ravel() for array in WEIGHTS.values()])
    assert norm_of(WEIGHTS) == pytest.approx(float(np.linalg.norm(flat.astype(np.float64))), rel=1e-12)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    flat = np.zeros(COUNT, np.float32)
    flat[COUNT // 2] = number
    with pytest.raises(UpdateRejectedError, match="NaN or infinite"):
        from_record(record_of(flat), SMALL)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(COUNT - 1, np.float32),
        np.zeros(COUNT + 1, np.float32),
        np.zeros((COUNT, 1), np.float32),
        np.zeros(0, np.float32),
        np.array(1.0, np.float32),
        np.zeros(COUNT, np.float16),
        np.zeros(COUNT, np.int32),
        np.zeros(COUNT, ">f4"),
        np.zeros(COUNT, "U1"),
        np.zeros(COUNT, [("a", "f4")]),
        np.zeros(COUNT, np.float64),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_another_size_or_type_is_refused(array: np.ndarray) -> None:
    with pytest.raises(UpdateRejectedError):
        from_record(record_of(array), SMALL)


def test_more_bytes_than_the_architecture_has_are_refused_unread() -> None:
    with pytest.raises(UpdateRejectedError, match="10000 bytes of weights"):
        from_record(record_of_bytes(b"\0" * 10_000), SMALL)


def test_other_arrays_beside_the_weights_are_refused() -> None:
    record = to_record(WEIGHTS)
    record["features"] = Array(np.zeros(4, np.float32))
    with pytest.raises(UpdateRejectedError, match="features"):
        from_record(record, SMALL)
    with pytest.raises(UpdateRejectedError):
        from_record(ArrayRecord({}), SMALL)


class _Bomb:
    """Unpickling it would say so."""

    exploded = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _explode, ()


def _explode() -> None:
    _Bomb.exploded = True


def test_a_pickled_array_is_refused_and_never_loaded() -> None:
    objects = np.empty(1, object)
    objects[0] = _Bomb()
    for data in (npy(objects, allow_pickle=True), pickle.dumps(_Bomb())):
        with pytest.raises(UpdateRejectedError):
            from_record(record_of_bytes(data), SMALL)
    assert not _Bomb.exploded


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1")


def _zipped() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(1, np.float32))
    return file.getvalue()[: COUNT * 4 + 200]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04",
        b"PK\x05\x06" + b"\0" * 18,
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (9000000000000,), }\n"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"),
        _header("((((((((("),
        _header("(" * 150),
        _header("'''"),
        _header("[" * 40 + "]" * 40),
        _header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + b"cos\nsystem\n",
        _header("\0"),
        npy(np.zeros(COUNT, np.float32))[:-1],
        npy(np.zeros(COUNT, np.float32)) + b"hidden",
    ],
    ids=range(14),
)
def test_malformed_payloads_are_refused(data: bytes) -> None:
    with pytest.raises(UpdateRejectedError):
        from_record(record_of_bytes(data), SMALL)


def test_an_empty_zip_and_a_real_one_are_refused() -> None:
    roomy = Architecture(channels=40, hidden_units=8, layers=1)
    with pytest.raises(UpdateRejectedError):
        from_record(record_of_bytes(_zipped()), roomy)


@pytest.mark.parametrize(
    ("dtype", "shape", "stype"),
    [
        ("P16 smiles a lot", (COUNT,), "numpy.ndarray"),
        ("float32", (1, 2, 3), "numpy.ndarray"),
        ("float32", (COUNT,), "something else"),
    ],
)
def test_a_label_that_is_not_the_arrays_own_is_refused(
    dtype: str, shape: tuple[int, ...], stype: str
) -> None:
    """Labels travel too: what they say must follow from the architecture."""
    data = to_record(WEIGHTS)[FLAT].data
    with pytest.raises(UpdateRejectedError):
        from_record(ArrayRecord({FLAT: Array(dtype, shape, stype, data)}), SMALL)


@given(st.binary(max_size=300), st.integers(0, 128))
def test_no_bytes_can_do_more_than_be_refused(noise: bytes, keep: int) -> None:
    data = npy(np.zeros(COUNT, np.float32))[:keep] + noise
    try:
        weights = from_record(record_of_bytes(data), SMALL)
    except UpdateRejectedError:
        return
    check_weights(weights, SMALL)


@given(st.integers(0, 1000), st.integers(1, 255))
def test_a_flipped_byte_in_a_model_file_is_refused_or_harmless(place: int, flip: int) -> None:
    content = bytearray(to_safetensors(WEIGHTS))
    content[place % len(content)] ^= flip
    try:
        weights = from_safetensors(bytes(content), SMALL)
    except ModelError:
        return
    check_weights(weights, SMALL)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 40, -1])
def test_a_cut_model_file_is_refused(size: int) -> None:
    with pytest.raises(ModelError, match="Fetch the model again"):
        from_safetensors(to_safetensors(WEIGHTS)[:size], SMALL)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F4", "BOOL", "nonsense"])
def test_number_formats_of_other_programs_are_refused(dtype: str) -> None:
    header = json.dumps({"flat": {"dtype": dtype, "shape": [2], "data_offsets": [0, 4]}}).encode()
    with pytest.raises(ModelError):
        from_safetensors(struct.pack("<Q", len(header)) + header + b"\0" * 4, SMALL)


def test_a_model_of_another_architecture_is_refused() -> None:
    with pytest.raises(ModelError, match="expected float32"):
        from_safetensors(to_safetensors(WEIGHTS), Architecture(channels=3, hidden_units=4, layers=1))


def test_weights_from_a_file_cross_the_wire_unscrambled() -> None:
    """A safetensors file sorts its arrays in its own way; the wire has one flat vector and no names."""
    architecture = Architecture(channels=3, hidden_units=2, layers=2, residual=True)
    weights = weights_of(build(architecture, seed=6))
    again = from_record(to_record(from_safetensors(to_safetensors(weights), architecture)), architecture)
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
