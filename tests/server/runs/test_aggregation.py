"""Updates are checked one by one; FedAvg agrees with a NumPy reference."""

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from mien_common.architecture import Architecture
from mien_common.errors import FederationError, UpdateRejectedError
from mien_common.messages import ARRAYS, DOCUMENT, METRICS, NUM_EXAMPLES, TrainReport, pack
from mien_common.network import build
from mien_common.weights import Weights, to_record, weights_of
from mien_server.rules.choice import rule_from
from mien_server.rules.settings import RuleSettings
from mien_server.runs.aggregation import Update, combine, read_update

TINY = Architecture(hidden_units=3, layers=1)
GLOBAL = weights_of(build(TINY, 1))


def report(**changes: Any) -> TrainReport:
    plain = {
        "site": "lab-1",
        "round": 4,
        "frames": 120,
        "loss": 0.4,
        "update_norm": 1.0,
        "seconds": 1.0,
        "device": "cpu",
        "version": "0",
        "bytes_down": 1,
        "bytes_up": 1,
    }
    return TrainReport.model_validate(plain | changes)


def delta(seed: int, scale: float = 0.1) -> Weights:
    generator = np.random.default_rng(seed)
    return {
        name: (scale * generator.normal(size=array.shape)).astype(np.float32)
        for name, array in GLOBAL.items()
    }


def content(update: Weights, frames: int = 120, **changes: Any) -> RecordDict:
    return RecordDict(
        {
            ARRAYS: to_record(update),
            METRICS: MetricRecord({NUM_EXAMPLES: frames}),
            DOCUMENT: pack(report(frames=frames, **changes)),
        }
    )


def read(found: RecordDict, max_norm: float = 100.0) -> Update:
    return read_update(found, "lab-1", 4, TINY, max_norm)


def test_a_good_update_is_read() -> None:
    update = read(content(delta(1)))

    assert (update.site, update.report.frames) == ("lab-1", 120)
    for name, array in delta(1).items():
        np.testing.assert_array_equal(update.delta[name], array)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"site": "lab-2"}, "calls itself 'lab-2'"), ({"round": 3}, "round 3, asked was round 4")],
)
def test_a_report_of_another_is_rejected(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UpdateRejectedError, match=reason):
        read(content(delta(1), **changes))


def test_a_weight_other_than_its_frames_is_rejected() -> None:
    found = content(delta(1))
    found[METRICS] = MetricRecord({NUM_EXAMPLES: 10**9})

    with pytest.raises(UpdateRejectedError, match="weight of 1000000000"):
        read(found)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_rejected(value: float) -> None:
    update = delta(1)
    update["head.bias"][0] = value

    with pytest.raises(UpdateRejectedError, match="NaN or infinite"):
        read(content(update))


def test_an_update_beyond_the_norm_is_rejected() -> None:
    with pytest.raises(UpdateRejectedError, match="norm"):
        read(content(delta(1, scale=50.0)))


def test_arrays_of_another_architecture_are_rejected() -> None:
    found = content(delta(1))
    found[ARRAYS] = to_record(weights_of(build(Architecture(hidden_units=4, layers=1), 1)))

    with pytest.raises(UpdateRejectedError):
        read(found)


def test_a_pickle_in_place_of_an_array_is_not_opened() -> None:
    found = content(delta(1))
    size = sum(array.size for array in GLOBAL.values())
    data = np.lib.format.magic(1, 0) + b"\x02\x00{}" + b"cos\nsystem\n(S'true'\ntR."
    found[ARRAYS] = ArrayRecord(
        {name: Array("object", (size,), "numpy.ndarray", data) for name in to_record(GLOBAL)}
    )

    with pytest.raises(UpdateRejectedError):
        read(found)


@pytest.mark.parametrize("missing", [ARRAYS, METRICS, DOCUMENT])
def test_an_incomplete_reply_is_refused(missing: str) -> None:
    found = content(delta(1))
    del found[missing]

    with pytest.raises(FederationError):
        read(found)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 10**6)), min_size=1, max_size=6))
def test_federated_averaging_is_the_weighted_mean(parts: list[tuple[int, int]]) -> None:
    updates = [
        Update(f"lab-{number}", report(site=f"lab-{number}", frames=frames), delta(seed), 1.0)
        for number, (seed, frames) in enumerate(parts)
    ]

    found = combine(GLOBAL, updates, rule_from(RuleSettings()), 4, TINY)

    shares = np.array([frames for _, frames in parts], np.float64) / sum(frames for _, frames in parts)
    for name, array in GLOBAL.items():
        mean = np.tensordot(shares, np.stack([update.delta[name] for update in updates]), axes=1)
        np.testing.assert_allclose(found[name], array + mean, rtol=1e-5, atol=1e-6)
        assert found[name].dtype == np.float32
