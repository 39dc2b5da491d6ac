"""What the two sides say to each other: what is packed comes out, and nothing impossible is taken."""

import json
import math
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from mien_common.architecture import Architecture
from mien_common.ccc import Moments
from mien_common.errors import FederationError
from mien_common.messages import (
    DOCUMENT,
    MESSAGE_LIMIT_BYTES,
    EvaluateReport,
    RecordingMoments,
    RoundOrder,
    TrainingSettings,
    TrainReport,
    pack,
    unpack,
)

NON_NEGATIVE = st.floats(0, 1e12)
COUNTS = st.integers(0, 10**9)


def sent(text: str) -> RecordDict:
    """A message that carries ``text`` as its document."""
    return RecordDict({DOCUMENT: ConfigRecord({"json": text})})


SUMS = st.integers(25, 10_000).flatmap(
    lambda n: st.builds(
        Moments,
        n=st.just(float(n)),
        x=st.floats(-n, n),
        y=st.floats(-n, n),
        xx=st.floats(0, n),
        yy=st.floats(0, n),
        xy=st.floats(-n, n),
    )
)
ORDERS = st.builds(
    RoundOrder,
    architecture=st.builds(Architecture, hidden_units=st.integers(1, 4096), layers=st.integers(1, 16)),
    round=st.integers(0, 1_000_000),
    seed=st.integers(0, 2**63 - 1),
    training=st.builds(
        TrainingSettings,
        local_epochs=st.integers(1, 1000),
        learning_rate=st.floats(1e-9, 1),
        window_s=st.floats(1e-3, 3600),
        batch_windows=st.integers(1, 65536),
        clip_gradient_norm=st.floats(1e-6, 1e6),
    ),
)
TRAIN_REPORTS = st.builds(
    TrainReport,
    site=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True),
    round=COUNTS,
    frames=st.integers(1, 10**9),
    loss=st.floats(-10, 10),
    update_norm=NON_NEGATIVE,
    seconds=NON_NEGATIVE,
    device=st.sampled_from(["cpu", "cuda"]),
    version=st.just("0.1.0"),
    bytes_down=COUNTS,
    bytes_up=COUNTS,
)
EVALUATE_REPORTS = st.builds(
    EvaluateReport,
    site=st.just("site-1"),
    round=COUNTS,
    recordings=st.lists(st.builds(RecordingMoments, valence=SUMS, arousal=SUMS), max_size=5).map(tuple),
    seconds=NON_NEGATIVE,
    bytes_down=COUNTS,
)


@given(ORDERS | TRAIN_REPORTS | EVALUATE_REPORTS)
def test_a_document_comes_out_as_it_went_in(
    document: RoundOrder | TrainReport | EvaluateReport,
) -> None:
    assert unpack(RecordDict({DOCUMENT: pack(document)}), type(document)) == document


ORDER: dict[str, Any] = json.loads(RoundOrder(round=1, seed=2).model_dump_json())
REPORT: dict[str, Any] = {
    "site": "site-1",
    "round": 1,
    "frames": 100,
    "loss": 0.5,
    "update_norm": 1.0,
    "seconds": 1.0,
    "device": "cpu",
    "version": "0.1.0",
    "bytes_down": 1,
    "bytes_up": 1,
}
MOMENTS: dict[str, Any] = {"n": 30.0, "x": 1.0, "y": 1.0, "xx": 1.0, "yy": 1.0, "xy": 1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"round": -1},
        {"round": 1_000_001},
        {"run": "../../etc"},
        {"run": "r" * 65},
        {"seed": 2**63},
        {"seed": -1},
        {"architecture": {"layers": 0}},
        {"architecture": {"hidden_units": 10**9}},
        {"training": {"local_epochs": 0}},
        {"training": {"learning_rate": 0}},
        {"training": {"learning_rate": 2}},
        {"training": {"learning_rate": math.nan}},
        {"training": {"window_s": 0}},
        {"training": {"window_s": math.inf}},
        {"training": {"window_s": math.nan}},
        {"training": {"batch_windows": 0}},
        {"training": {"clip_gradient_norm": 0}},
        {"training": {"clip_gradient_norm": math.inf}},
        {"training": {"clip_gradient_norm": math.nan}},
        {"shell": "rm -rf /"},
    ],
    ids=str,
)
def test_impossible_orders_are_refused(wrong: dict[str, object]) -> None:
    unpack(sent(json.dumps(ORDER)), RoundOrder)
    with pytest.raises(FederationError, match="RoundOrder that does not hold"):
        unpack(sent(json.dumps(ORDER | wrong)), RoundOrder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"site": "Person A"},
        {"site": "-"},
        {"site": "a" * 33},
        {"site": "site-1\n"},
        {"frames": 0},
        {"loss": math.nan},
        {"loss": math.inf},
        {"update_norm": -1},
        {"seconds": math.inf},
        {"device": "x" * 65},
        {"version": "x" * 33},
        {"bytes_up": -1},
        {"trace": [0.1, 0.2]},
    ],
    ids=str,
)
def test_impossible_reports_are_refused(wrong: dict[str, object]) -> None:
    unpack(sent(json.dumps(REPORT)), TrainReport)
    with pytest.raises(FederationError, match="TrainReport that does not hold"):
        unpack(sent(json.dumps(REPORT | wrong)), TrainReport)


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": 30.1},
        {"xy": -30.1},
        {"n": 24.0},
        {"yy": math.nan},
        {"xx": math.inf},
        {"n": math.inf},
        {"n": math.nan},
        {"n": -1.0, "x": 0.0, "y": 0.0, "xx": 0.0, "yy": 0.0, "xy": 0.0},
        {"n": 1e300},
        {"xx": -1.0},
        {"yy": -1.0},
        {"z": 1.0},
    ],
    ids=str,
)
def test_sums_that_no_recording_can_have_are_refused(wrong: dict[str, float]) -> None:
    """One site's infinite or negative sum would spoil the pooled figures of all."""

    def report(valence: dict[str, float]) -> RecordDict:
        recording = {"valence": valence, "arousal": MOMENTS}
        return sent(
            json.dumps({"site": "a", "round": 1, "recordings": [recording], "seconds": 1, "bytes_down": 1})
        )

    unpack(report(MOMENTS), EvaluateReport)
    with pytest.raises(FederationError, match="EvaluateReport that does not hold"):
        unpack(report(MOMENTS | wrong), EvaluateReport)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({}),
        RecordDict({DOCUMENT: MetricRecord({"json": 1})}),
        RecordDict({DOCUMENT: ArrayRecord({})}),
        RecordDict({DOCUMENT: ConfigRecord({"json": b"{}"})}),
        RecordDict({DOCUMENT: ConfigRecord({"json": ["{}"]})}),
        RecordDict({DOCUMENT: ConfigRecord({"yaml": "{}"})}),
        RecordDict({DOCUMENT: ConfigRecord({"json": json.dumps(REPORT), "more": "frame by frame"})}),
    ],
    ids=range(7),
)
def test_a_message_without_exactly_one_document_is_refused(content: RecordDict) -> None:
    with pytest.raises(FederationError, match="without a readable TrainReport"):
        unpack(content, TrainReport)


@pytest.mark.parametrize("filling", ["x", "é"])
def test_a_document_beyond_the_limit_is_refused_unread(filling: str) -> None:
    count = MESSAGE_LIMIT_BYTES // len(filling.encode()) + 1
    with pytest.raises(FederationError, match="without a readable"):
        unpack(sent(filling * count), TrainReport)


@given(st.text(max_size=200))
def test_no_text_can_do_more_than_be_refused(text: str) -> None:
    with pytest.raises(FederationError):
        unpack(sent(text), TrainReport)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"site":' * 50_000, "1" * 10_000, '"\\ud800"', "\x00"])
def test_texts_that_break_parsers_are_refused(text: str) -> None:
    with pytest.raises(FederationError):
        unpack(sent(text), TrainReport)
