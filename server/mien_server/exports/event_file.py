"""TensorBoard's file format: records with checksums, one for every round.

Enters: rounds as named numbers. Leaves: the bytes of an event file, the same for the same rounds. The
messages and the checksum are tensorboardX's; its writer is not used, as it cannot go on with a file that is
there.
"""

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple

from mien_server.exports.series import RoundValues

FORMAT: Final = "brain.Event:2"


def header(time_s: float) -> bytes:
    """What a file begins with."""
    return _record(_library().event(wall_time=time_s, file_version=FORMAT))


def round_record(found: RoundValues) -> bytes:
    """One round: all its values in one record, so that a file has all of a round or nothing of it."""
    summary = _library().summary
    values = [summary.Value(tag=tag, simple_value=value) for tag, value in sorted(found.values.items())]
    return _record(_library().event(wall_time=found.time_s, step=found.round, summary=summary(value=values)))


def _record(event: Any) -> bytes:
    content: bytes = event.SerializeToString(deterministic=True)
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", _library().checksum(content))


class _Library(NamedTuple):
    """What is used of tensorboardX, which has no types."""

    event: Any
    summary: Any
    checksum: Callable[[bytes], int]


@lru_cache(maxsize=1)
def _library() -> _Library:
    with _no_pytorch():
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import masked_crc32c
    return _Library(Event, Summary, masked_crc32c)


@contextmanager
def _no_pytorch() -> Iterator[None]:
    """tensorboardX would load PyTorch because it is installed, for nothing: 190 MB where 30 are enough."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # how Python says that a module cannot be had
    try:
        yield
    finally:
        del sys.modules["torch"]
