"""The only door: everything that leaves this site passes here, is checked, and leaves a receipt.

Enters: replies of :mod:`mien_client.client_app`. Leaves: a :class:`Parcel`, the one thing
:mod:`mien_client.fleet` can send. Refused: anything but a weight update with its report, the sums
of an evaluation, or the kind of an error. Each receipt says what, how many bytes, and its hash.
"""

import errno
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict

from mien_common.architecture import Architecture
from mien_common.errors import UpdateRejectedError
from mien_common.files import storage_errors
from mien_common.messages import (
    ARRAYS,
    DOCUMENT,
    METRICS,
    NUM_EXAMPLES,
    Document,
    EvaluateReport,
    TrainReport,
    pack,
    unpack,
)
from mien_common.weights import from_record

ERROR_AT_SITE: Final = 1
"""Flower error code of a reply that says the site could not do its part."""

_DOOR = object()


@dataclass(frozen=True)
class Receipt:
    """One line of ``receipts.jsonl``."""

    time: str
    run: str
    message: str
    kind: str
    bytes: int
    sha256: str


class Parcel:
    """A checked reply with its receipt. Only the outbox makes one."""

    def __init__(self, message: Message, receipt: Receipt, door: object) -> None:
        if door is not _DOOR:
            raise UpdateRejectedError("a parcel can only be made by the outbox")
        self.message = message
        self.receipt = receipt


class Outbox:
    """Checks what leaves and writes its receipt to ``receipts``, before it leaves."""

    def __init__(self, receipts: Path) -> None:
        self._receipts = receipts

    def clear(self, reply: Message, architecture: Architecture) -> Parcel:
        """A reply that may leave.

        Parameters
        ----------
        reply : what the ClientApp answered.
        architecture : of the round order it answers; an update must have exactly its arrays.

        Raises
        ------
        UpdateRejectedError, FederationError
            It holds something that must not leave, or numbers that are not finite.
        StorageError
            The receipt cannot be written; then nothing leaves.
        """
        if reply.has_error():
            raise UpdateRejectedError("an error reply goes through `refuse`")
        kind, payload = _checked(reply.content, architecture)
        return self._seal(reply, kind, payload)

    def refuse(self, order: Message, error: Exception) -> Parcel:
        """A reply that says the site could not do its part.

        Only the error's kind leaves: its text may name files, and files may name people.
        """
        kind = type(error).__name__
        reason = f"{kind}; the agent's log at the site says more"
        return self._seal(Message(Error(ERROR_AT_SITE, reason), reply_to=order), "error", reason.encode())

    def _seal(self, reply: Message, kind: str, payload: bytes) -> Parcel:
        receipt = Receipt(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            run=str(reply.metadata.run_id),
            message=reply.metadata.reply_to_message_id,
            kind=kind,
            bytes=len(payload),
            sha256=hashlib.sha256(payload).hexdigest(),
        )
        line = json.dumps(receipt.__dict__).encode() + b"\n"
        with storage_errors(self._receipts):
            descriptor = os.open(self._receipts, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)  # half a receipt would spoil the next one too
                raise
            finally:
                os.close(descriptor)
        return Parcel(reply, receipt, _DOOR)


def _checked(content: RecordDict, architecture: Architecture) -> tuple[str, bytes]:
    """Kind and bytes of a reply that holds only what it may."""
    if set(content) == {ARRAYS, METRICS, DOCUMENT}:
        report = _whole(content, TrainReport)
        arrays = content[ARRAYS]
        if not isinstance(arrays, ArrayRecord):
            raise UpdateRejectedError("an update must be an ArrayRecord")
        from_record(arrays, architecture)
        _check_metrics(content, report.frames)
        payload = b"".join(array.data for array in arrays.values())
        return "update", payload + _document_bytes(content)
    if set(content) == {METRICS, DOCUMENT}:
        evaluation = _whole(content, EvaluateReport)
        _check_metrics(content, int(sum(recording.valence.n for recording in evaluation.recordings)))
        return "evaluation", _document_bytes(content)
    raise UpdateRejectedError(f"a reply with {sorted(content)} must not leave the site")


def _whole(content: RecordDict, kind: type[Document]) -> Document:
    """The document of a reply, in the one form that ``pack`` gives it: blanks and doubles could tell more."""
    document = unpack(content, kind)
    if content[DOCUMENT] != pack(document):
        raise UpdateRejectedError(f"a {kind.__name__} in another form than Mien writes it")
    return document


def _check_metrics(content: RecordDict, frames: int) -> None:
    """Flower's averaging needs the frame count as a metric; it says that and nothing else."""
    metrics = content[METRICS]
    if not isinstance(metrics, MetricRecord) or dict(metrics) != {NUM_EXAMPLES: frames}:
        raise UpdateRejectedError(f"a reply must hold one metric, {NUM_EXAMPLES}: its report's frames")
    if type(metrics[NUM_EXAMPLES]) is not int:
        raise UpdateRejectedError(f"the metric {NUM_EXAMPLES} must be a whole number")


def _document_bytes(content: RecordDict) -> bytes:
    return str(content.config_records[DOCUMENT]["json"]).encode()
