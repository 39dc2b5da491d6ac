"""The only door: what is refused, what leaves, and the receipt it leaves behind."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from mien_client.outbox import Outbox, Parcel, Receipt
from mien_common.architecture import Architecture
from mien_common.ccc import Moments
from mien_common.errors import FederationError, MienError, StorageError, UpdateRejectedError
from mien_common.messages import (
    ARRAYS,
    DOCUMENT,
    METRICS,
    NUM_EXAMPLES,
    EvaluateReport,
    RecordingMoments,
    TrainReport,
    pack,
)
from mien_common.network import build
from mien_common.weights import FLAT, to_record, weights_of

Reply = Callable[[RecordDict], Message]

SMALL = Architecture(hidden_units=2, layers=1)
REPORT = TrainReport(
    site="site-1",
    round=1,
    frames=500,
    loss=0.4,
    update_norm=1.0,
    seconds=2.0,
    device="cpu",
    version="0.1.0",
    bytes_down=10,
    bytes_up=10,
)
SUMS = Moments(n=100.0, x=1.0, y=2.0, xx=30.0, yy=40.0, xy=5.0)
EVALUATION = EvaluateReport(
    site="site-1",
    round=1,
    recordings=(RecordingMoments(valence=SUMS, arousal=SUMS),),
    seconds=1.0,
    bytes_down=10,
)


def update(**changes: Any) -> RecordDict:
    """What a whole update holds, with some records changed; None takes one out."""
    records = {
        ARRAYS: to_record(weights_of(build(SMALL, 1))),
        METRICS: MetricRecord({NUM_EXAMPLES: 500}),
        DOCUMENT: pack(REPORT),
    } | changes
    return RecordDict({name: record for name, record in records.items() if record is not None})


def evaluation(**changes: Any) -> RecordDict:
    return RecordDict({METRICS: MetricRecord({NUM_EXAMPLES: 100}), DOCUMENT: pack(EVALUATION)} | changes)


@pytest.fixture
def order(make_order: Callable[[RecordDict, str], Message]) -> Message:
    return make_order(RecordDict({}), "train")


@pytest.fixture
def reply(order: Message) -> Callable[[RecordDict], Message]:
    return lambda content: Message(content, reply_to=order)


@pytest.fixture
def receipts(tmp_path: Path) -> Path:
    return tmp_path / "receipts.jsonl"


def lines(receipts: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in receipts.read_text().splitlines()] if receipts.exists() else []


def test_an_update_leaves_with_a_receipt_of_its_bytes_and_hash(
    receipts: Path, order: Message, reply: Reply
) -> None:
    message = reply(update())
    parcel = Outbox(receipts).clear(message, SMALL)
    payload = message.content.array_records[ARRAYS][FLAT].data + REPORT.model_dump_json().encode()
    assert parcel.message is message
    assert lines(receipts) == [parcel.receipt.__dict__]
    (receipt,) = lines(receipts)
    assert (receipt["kind"], receipt["run"], receipt["message"]) == ("update", "42", "order-1")
    assert receipt["bytes"] == len(payload)
    assert receipt["sha256"] == hashlib.sha256(payload).hexdigest()


def test_an_evaluation_leaves_with_a_receipt(receipts: Path, reply: Reply) -> None:
    parcel = Outbox(receipts).clear(reply(evaluation()), SMALL)
    payload = EVALUATION.model_dump_json().encode()
    assert parcel.receipt.kind == "evaluation"
    assert (parcel.receipt.bytes, parcel.receipt.sha256) == (
        len(payload),
        hashlib.sha256(payload).hexdigest(),
    )


def test_receipts_are_added_and_are_for_the_site_alone(receipts: Path, order: Message, reply: Reply) -> None:
    outbox = Outbox(receipts)
    outbox.clear(reply(update()), SMALL)
    outbox.clear(reply(evaluation()), SMALL)
    outbox.refuse(order, ValueError("no"))
    assert [line["kind"] for line in lines(receipts)] == ["update", "evaluation", "error"]
    assert stat.S_IMODE(receipts.stat().st_mode) == 0o600


def flat(array: np.ndarray) -> ArrayRecord:
    return ArrayRecord({FLAT: Array(array)})


def counted(**metrics: Any) -> MetricRecord:
    return MetricRecord({NUM_EXAMPLES: 500} | metrics)


COUNT = sum(array.size for array in weights_of(build(SMALL, 1)).values())
WITH_NAN = np.zeros(COUNT, np.float32)
WITH_NAN[3] = np.nan
TWO_ARRAYS = to_record(weights_of(build(SMALL, 1)))
TWO_ARRAYS["face"] = Array(np.zeros((48, 64, 3), np.uint8))
HIDDEN = np.zeros(COUNT, np.float32)
PADDED = Array("float32", (COUNT,), "numpy.ndarray", Array(HIDDEN).data + b"frame")
LABELLED = Array("float32, by a smiling P16", (COUNT,), "numpy.ndarray", Array(HIDDEN).data)
TWO_ENTRIES = pack(REPORT)
TWO_ENTRIES["trace"] = [0.1, 0.2]
SPACED = ConfigRecord({"json": REPORT.model_dump_json(indent=3)})
TWICE = ConfigRecord({"json": REPORT.model_dump_json().replace("{", '{"site":"smiles","site":"x",', 1)})

NOT_AN_ANSWER = {
    "nothing": RecordDict({}),
    "features": update(features=flat(np.zeros((100, 40), np.float32))),
    "configuration": update(extra=ConfigRecord({"video": "holiday.mp4"})),
    "no report": update(document=None),
    "no metric": update(metrics=None),
    "another metric": update(metrics=counted(mood=0.7)),
    "only another metric": update(metrics=MetricRecord({"mood": 0.7})),
    "a metric of many numbers": update(metrics=MetricRecord({NUM_EXAMPLES: [0.1] * 1000})),
    "a metric that is not the report's": update(metrics=MetricRecord({NUM_EXAMPLES: 501})),
    "a broken metric": update(metrics=MetricRecord({NUM_EXAMPLES: 500.5})),
    "two arrays": update(arrays=TWO_ARRAYS),
    "fewer weights": update(arrays=flat(np.zeros(COUNT - 1, np.float32))),
    "NaN weights": update(arrays=flat(WITH_NAN)),
    "an image for weights": update(arrays=flat(np.zeros((48, 64, 3), np.uint8))),
    "bytes behind the weights": update(arrays=ArrayRecord({FLAT: PADDED})),
    "a label on the weights": update(arrays=ArrayRecord({FLAT: LABELLED})),
    "text for weights": update(arrays=ConfigRecord({FLAT: "x"})),
    "metrics for weights": update(arrays=MetricRecord({FLAT: 1.0})),
    "another document": update(document=pack(EVALUATION)),
    "two entries in the document": update(document=TWO_ENTRIES),
    "blanks in the document": update(document=SPACED),
    "a field given twice": update(document=TWICE),
    "text for a document": update(document=ConfigRecord({"json": "happy"})),
    "an evaluation with a report": evaluation(document=pack(REPORT)),
    "an evaluation of other frames": evaluation(metrics=MetricRecord({NUM_EXAMPLES: 99})),
    "an evaluation with a record": evaluation(trace=MetricRecord({"valence": [0.1, 0.2]})),
}


@pytest.mark.parametrize("kind", NOT_AN_ANSWER)
def test_anything_else_is_refused_and_leaves_no_receipt(receipts: Path, kind: str, reply: Reply) -> None:
    with pytest.raises((UpdateRejectedError, FederationError)):
        Outbox(receipts).clear(reply(NOT_AN_ANSWER[kind]), SMALL)
    assert lines(receipts) == []


def test_an_update_of_another_architecture_is_refused(receipts: Path, reply: Reply) -> None:
    with pytest.raises(UpdateRejectedError):
        Outbox(receipts).clear(reply(update()), Architecture(hidden_units=3, layers=1))
    assert lines(receipts) == []


@pytest.mark.parametrize(
    "error", [StorageError("cannot write /home/anna/anna-in-tears.mp4"), ValueError("P16")]
)
def test_of_an_error_only_its_kind_leaves(receipts: Path, error: Exception, order: Message) -> None:
    parcel = Outbox(receipts).refuse(order, error)
    assert parcel.message.has_error()
    reason = str(parcel.message.error.reason)
    said = f"{parcel.message.error.code} {parcel.message.error.reason}"
    assert type(error).__name__ in said
    assert not any(word in said for word in ("anna", "P16", "mp4", "/", "\\"))
    assert parcel.message.metadata.reply_to_message_id == "order-1"
    assert lines(receipts)[0]["sha256"] == hashlib.sha256(reason.encode()).hexdigest()


def test_an_error_reply_of_the_app_does_not_pass_the_front_door(receipts: Path, order: Message) -> None:
    broken = Outbox(receipts).refuse(order, ValueError()).message
    with pytest.raises(UpdateRejectedError, match="refuse"):
        Outbox(receipts).clear(broken, SMALL)


def test_without_a_receipt_nothing_leaves(tmp_path: Path, order: Message, reply: Reply) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "receipts.jsonl", tmp_path):
        with pytest.raises(StorageError, match="cannot write"):
            Outbox(place).clear(reply(update()), SMALL)
        with pytest.raises(StorageError, match="cannot write"):
            Outbox(place).refuse(order, ValueError())


def test_without_room_for_a_whole_receipt_nothing_leaves(small_disk: Path, reply: Reply) -> None:
    receipts = small_disk / "receipts.jsonl"
    with receipts.open("wb", buffering=0) as file:
        file.write(b"\n" * (128 * 1024 - 40))
    assert os.statvfs(small_disk).f_bfree <= 1
    for _ in range(3):
        with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)):
            Outbox(receipts).clear(reply(evaluation()), SMALL)
    whole = receipts.read_bytes().strip(b"\n").splitlines()
    assert all(json.loads(line) for line in whole), "a receipt was cut in the middle"


def test_a_parcel_cannot_be_made_elsewhere(reply: Reply) -> None:
    receipt = Receipt("now", "1", "m", "update", 0, "0" * 64)
    for door in (None, object(), "the door"):
        with pytest.raises(UpdateRejectedError, match="only be made by the outbox"):
            Parcel(reply(update()), receipt, door)


def test_a_refusal_says_what_without_repeating_the_content(receipts: Path, reply: Reply) -> None:
    with pytest.raises(MienError) as raised:
        Outbox(receipts).clear(reply(NOT_AN_ANSWER["text for a document"]), SMALL)
    assert "happy" not in str(raised.value)
