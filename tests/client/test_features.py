"""From observations to the 25 Hz clock: interpolated where it may be, missing where it must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import interp1d

from mien_client.features import clock_for, features_of, resample
from mien_client.observations import FaceState, Observation, nothing_seen
from mien_common.errors import ShapeError
from mien_common.schema import AU_V1, STATIC_CHANNELS

STATIC = len(STATIC_CHANNELS)


def seen(time_s: float, level: float | None = None) -> Observation:
    """A frame whose 20 values follow a known function of time; no face where ``level`` is NaN."""
    if level is not None and np.isnan(level):
        return nothing_seen(time_s, FaceState.NO_FACE)
    values = np.sin(time_s + np.arange(STATIC)) if level is None else np.full(STATIC, level)
    return Observation(time_s, FaceState.SEEN, values.astype(np.float32))


@pytest.mark.parametrize("rate_hz", [12.5, 15.0, 24000 / 1001, 25.0, 29.97, 30.0, 60.0])
def test_usual_rates_give_every_frame_of_the_clock(rate_hz: float) -> None:
    count = round(4 * rate_hz) + 1
    features = features_of([seen(number / rate_hz) for number in range(count)])
    assert np.allclose(np.diff(features.time_s), 0.04)
    assert features.time_s[-1] == pytest.approx(4.0, abs=0.04 + 1 / rate_hz)
    assert features.valid[1:].all()
    exact = np.sin(features.time_s[:, None] + np.arange(STATIC))
    # Straight lines between samples of a sine are off by at most h²/8 (and a millisecond's rounding).
    assert np.abs(features.values[1:, :STATIC] - exact[1:]).max() < (1 / rate_hz) ** 2 / 8 + 2e-3


def test_a_25_hz_video_is_taken_as_it_is() -> None:
    levels = np.random.default_rng(0).normal(size=50)
    features = features_of([seen(round(number * 0.04, 3), level) for number, level in enumerate(levels)])
    assert features.values[1:, 0] == pytest.approx(levels[1:], abs=1e-6)
    assert features.values[1:, STATIC] == pytest.approx(np.diff(levels), abs=1e-6)


def test_deltas_are_differences_of_neighbouring_frames() -> None:
    features = features_of([seen(number / 25) for number in range(30)])
    static, deltas = features.values[:, :STATIC], features.values[:, STATIC:]
    assert np.allclose(deltas[2:], np.diff(static[1:], axis=0), atol=1e-6)
    assert not features.valid[0], "the first frame has no frame before it to differ from"
    assert np.isnan(features.values[0]).all()


@st.composite
def irregular(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times in whole milliseconds, 10 to 90 ms apart, and values on them; some are missing."""
    steps = draw(st.lists(st.integers(10, 90), min_size=2, max_size=40))
    time_s = np.concatenate([[0.0], np.cumsum(steps) / 1000.0])
    numbers = st.floats(-5, 5, width=32) | st.just(float("nan"))
    values = draw(st.lists(numbers, min_size=len(time_s), max_size=len(time_s)))
    return time_s, np.array(values)


@given(irregular())
def test_agrees_with_scipy_and_never_bridges_a_missing_face(
    film: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    time_s, values = film
    clock = clock_for(float(time_s[-1]))
    found = resample(time_s, values[:, None], clock)[:, 0]
    reference = interp1d(time_s, values, bounds_error=False, fill_value=(values[0], values[-1]))(clock)
    nearest = np.abs(clock[:, None] - time_s[None]).argmin(axis=1)
    on_observation = np.abs(clock - time_s[nearest]) < 1.5e-3
    expected = np.where(on_observation, values[nearest], reference)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    known = np.isfinite(found)
    assert found[known] == pytest.approx(expected[known], abs=1e-9)


@given(irregular())
def test_what_is_missing_is_missing_in_every_channel_and_never_zero(
    film: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    time_s, values = film
    values = np.where(np.isnan(values), values, np.abs(values) + 1.0)
    features = features_of([seen(t, level) for t, level in zip(time_s, values, strict=True)])
    assert features.values.shape == (len(features.time_s), len(AU_V1.channels))
    assert np.isnan(features.values[~features.valid]).all()
    assert np.isfinite(features.values[features.valid]).all()
    assert (features.values[features.valid, :STATIC] >= 1.0 - 1e-6).all()


@pytest.mark.parametrize("rate_hz", [12.5, 25.0, 30.0])
def test_a_hidden_face_leaves_a_gap_of_its_own_length(rate_hz: float) -> None:
    times = np.arange(round(6 * rate_hz)) / rate_hz
    features = features_of([seen(t, np.nan if 2.0 <= t < 4.0 else 1.0) for t in times])
    missing = features.time_s[~features.valid][1:]  # the first frame of all is missing as ever
    assert missing.min() == pytest.approx(2.0, abs=1 / rate_hz)
    assert missing.max() == pytest.approx(4.0, abs=1 / rate_hz + 0.04)
    assert len(missing) * 0.04 == pytest.approx(2.0, abs=2 / rate_hz + 0.08)


def test_a_hole_in_the_recording_is_not_bridged() -> None:
    times = [t for t in np.arange(0, 6, 0.04) if not 2.0 < t < 3.5]
    features = features_of([seen(float(t), 1.0) for t in times])
    inside = (features.time_s > 2.05) & (features.time_s < 3.5)
    assert not features.valid[inside].any()
    assert features.valid[features.time_s > 3.6].all()


def test_a_single_dropped_frame_is_bridged() -> None:
    times = [number * 0.04 for number in range(50) if number != 20]
    features = features_of([seen(t) for t in times])
    assert features.valid[1:].all()


def test_a_video_without_a_face_has_no_valid_frame() -> None:
    features = features_of([nothing_seen(number * 0.04, FaceState.NO_FACE) for number in range(30)])
    assert not features.valid.any()
    assert np.isnan(features.values).all()


def test_a_single_frame_is_no_recording() -> None:
    features = features_of([seen(0.0)])
    assert features.valid.tolist() == [False]
    with pytest.raises(ShapeError, match="at least one observed frame"):
        features_of([])
