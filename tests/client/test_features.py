"""From observations to the 25 Hz clock: interpolated where it may be, missing where it must be."""

import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import interp1d

from mien_client.calibration import RunningNeutral, source_neutral
from mien_client.features import MODEL_CHANNELS, FeatureFrame, Features, FeatureStream, clock_for, features_of
from mien_client.observations import FaceState, Observation, nothing_seen
from mien_common.errors import ShapeError
from mien_common.schema import AU_CHANNELS, AU_V1, STATIC_CHANNELS

STATIC, UNITS = len(STATIC_CHANNELS), len(AU_CHANNELS)


def waves(time_s: float) -> NDArray[np.float32]:
    """Twenty smooth functions of time within 0 to 5, so that no neutral cuts them off."""
    values: NDArray[np.float32] = (2.0 + np.sin(time_s + np.arange(STATIC))).astype(np.float32)
    return values


def seen(time_s: float, level: float | None = None, face: int = 0) -> Observation:
    """A face whose 20 values follow a known function of time, or stand at ``level``."""
    values = waves(time_s) if level is None else np.full(STATIC, level, np.float32)
    return Observation(time_s, FaceState.SEEN, values, face)


def features(observations: Sequence[Observation]) -> Features:
    """With nothing subtracted, so that expected values are those that went in."""
    return features_of(observations, source_neutral())


@pytest.mark.parametrize("rate_hz", [5.0, 12.5, 15.0, 24000 / 1001, 25.0, 29.97, 30.0, 60.0, 240.0])
def test_usual_rates_give_every_frame_of_the_clock_as_numpy_does(rate_hz: float) -> None:
    count = round(4 * rate_hz) + 1
    times = np.arange(count) / rate_hz
    found = features([seen(time_s) for time_s in times.tolist()])
    assert np.array_equal(found.time_s, np.arange(101) / 25)
    assert found.valid.tolist() == [False] + [True] * 100
    static = np.stack(
        [np.interp(found.time_s, times, wave) for wave in np.stack(list(map(waves, times))).T], 1
    )
    # A time stamp is trusted to 1.5 ms, and these waves rise by at most 1 a second.
    assert np.abs(found.values[:, :STATIC] - static).max() < 1.6e-3
    assert np.abs(found.values[1:, STATIC:] - np.diff(static, axis=0)).max() < 3.2e-3
    assert not found.state.any()


def test_a_25_hz_video_is_taken_as_it_is() -> None:
    levels = np.random.default_rng(0).uniform(0, 5, size=50).astype(np.float32)
    found = features([seen(round(number * 0.04, 3), level) for number, level in enumerate(levels.tolist())])
    assert np.array_equal(found.values[:, 0], levels)
    assert found.values[1:, STATIC] == pytest.approx(np.diff(levels), abs=1e-6)


def test_the_first_frame_has_no_delta_and_is_not_valid() -> None:
    found = features([seen(number / 25) for number in range(3)])
    assert np.isfinite(found.values[0, :STATIC]).all()
    assert np.isnan(found.values[0, STATIC:]).all()
    assert found.valid.tolist() == [False, True, True]


@st.composite
def irregular(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Times in whole milliseconds, 10 to 400 ms apart; values, some missing; whose face it is."""
    steps = draw(st.lists(st.integers(10, 90) | st.integers(10, 400), min_size=2, max_size=60))
    time_s = np.concatenate([[0.0], np.cumsum(steps) / 1000.0])
    count = len(time_s)
    numbers = st.floats(0, 5, width=32) | st.just(float("nan"))
    values = draw(st.lists(numbers, min_size=count, max_size=count))
    switches = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    return time_s, np.array(values), np.cumsum(np.array(switches) == 9)


def reference(
    time_s: NDArray[np.float64], values: NDArray[np.float64], face: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What one channel and its delta should be, worked out over the whole recording at once."""
    clock = clock_for(float(time_s[-1]))
    intervals = np.diff(time_s)
    usual = [
        np.quantile(
            [step for step in intervals[: index + 1] if step <= 0.2515][-9:] or [0], 0.5, method="lower"
        )
        for index in range(len(intervals))
    ]
    whole = (intervals <= np.maximum(1.75 * np.array(usual), 0.06)) & (intervals <= 0.2515)
    whole &= np.diff(face) == 0
    static = interp1d(time_s, values, bounds_error=False, fill_value=np.nan)(clock)
    after = np.clip(np.searchsorted(time_s, clock), 1, len(time_s) - 1)
    static[~whole[after - 1]] = np.nan
    nearest = np.abs(clock[:, None] - time_s[None]).argmin(axis=1)
    on_time = np.abs(clock - time_s[nearest]) < 1.5e-3
    static[on_time] = values[nearest[on_time]]
    same = np.diff(face[nearest], prepend=-1) == 0
    return static, np.where(same, np.diff(static, prepend=np.nan), np.nan)


@given(irregular())
def test_agrees_with_a_batch_reference_and_never_bridges_what_is_missing(
    film: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
) -> None:
    """Channel 1 goes missing while the others stay: only it, and its delta, may be NaN for it."""
    time_s, values, face = film
    observations = []
    for moment, value, who in zip(time_s.tolist(), values.tolist(), face.tolist(), strict=True):
        observation = seen(moment, 1.0, who)
        observation.values[1] = value
        observations.append(observation)
    found = features(observations)
    for channel, expected in ((1, values), (7, np.ones(len(values)))):
        static, delta = reference(time_s, expected, face)
        for column, wanted in ((channel, static), (STATIC + channel, delta)):
            assert np.array_equal(np.isnan(found.values[:, column]), np.isnan(wanted))
            known = np.isfinite(wanted)
            assert found.values[known, column] == pytest.approx(wanted[known], abs=1e-5)
    assert np.array_equal(found.valid, np.isfinite(found.values[:, MODEL_CHANNELS]).all(axis=1))


@given(irregular(), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_nothing_after_a_moment_changes_the_features_up_to_it(
    film: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]], cut: int, seed: int
) -> None:
    """Two recordings that part at one frame: also the running neutral and the frame rate know no future."""
    time_s, values, face = film
    cut = min(cut, len(time_s) - 1)
    generator = np.random.default_rng(seed)
    films = []
    for turn in (0, 1):
        later = np.where(np.arange(len(time_s)) < cut, values, generator.uniform(-3, 9, len(time_s)))
        times = np.where(np.arange(len(time_s)) < cut, time_s, time_s + turn * generator.uniform(0, 2))
        films.append(
            [seen(*each) for each in zip(times.tolist(), later.tolist(), face.tolist(), strict=True)]
        )
    one, other = (features_of(film) for film in films)
    until = one.time_s <= time_s[cut - 1]
    for name in ("values", "valid", "state", "face"):
        first, second = (getattr(each, name)[: until.sum()] for each in (one, other))
        assert np.array_equal(first, second, equal_nan=name == "values")


def test_a_hidden_mouth_is_missing_in_its_channels_only() -> None:
    mouth = [AU_CHANNELS.index(name) for name in ("AU12_r", "AU25_r")]
    observations = [seen(number / 30) for number in range(90)]
    for number in range(30, 60):
        observations[number].values[mouth] = np.nan
        observations[number] = Observation(number / 30, FaceState.COVERED, observations[number].values)
    found = features(observations)
    hidden = (found.time_s > 0.98) & (found.time_s < 1.98)
    others = [column for column in range(STATIC) if column not in mouth]
    assert np.isnan(found.values[hidden][:, mouth]).all()
    assert np.isfinite(found.values[1:, others]).all()
    assert np.isfinite(found.values[1:, [STATIC + column for column in others]]).all()
    assert np.array_equal(found.state == FaceState.COVERED, hidden)
    # And one more: the first frame with a mouth has none to differ from.
    assert found.valid.sum() == len(found.valid) - 1 - hidden.sum() - 1


def test_experimental_units_are_not_needed() -> None:
    left_out = [
        AU_V1.channels.index(name)
        for name in AU_V1.channels
        if not MODEL_CHANNELS[AU_V1.channels.index(name)]
    ]
    observations = [seen(number / 25) for number in range(5)]
    for observation in observations:
        observation.values[[column for column in left_out if column < STATIC]] = np.nan
    assert features(observations).valid.tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    "state", [state for state in FaceState if state not in (FaceState.SEEN, FaceState.COVERED)]
)
def test_numbers_of_a_face_that_was_not_measured_are_not_believed(state: FaceState) -> None:
    """OpenFace writes numbers where its tracking failed; so might we, by mistake."""
    garbage = [Observation(number / 25, state, np.full(STATIC, 3e8, np.float32)) for number in range(10, 20)]
    found = features([seen(n / 25) for n in range(10)] + garbage + [seen(n / 25) for n in range(20, 30)])
    hidden = (found.time_s > 0.39) & (found.time_s < 0.79)
    assert np.isnan(found.values[hidden, :UNITS]).all()
    assert np.isnan(found.values[hidden, UNITS:STATIC]).all() == (
        state in (FaceState.NO_FRAME, FaceState.NO_FACE)
    )
    assert (found.state[hidden] == state).all()
    assert found.valid.tolist() == [False] + [True] * 9 + [False] * 11 + [True] * 9


def test_infinities_are_missing() -> None:
    found = features([seen(number / 25, np.inf) for number in range(5)])
    assert np.isnan(found.values).all()


@pytest.mark.parametrize("rate_hz", [12.5, 25.0, 30.0])
def test_a_hidden_face_leaves_a_gap_of_its_own_length(rate_hz: float) -> None:
    times = (np.arange(round(6 * rate_hz)) / rate_hz).tolist()
    hidden = [2.0 <= time_s < 4.0 for time_s in times]
    found = features(
        [
            nothing_seen(t, FaceState.NO_FACE) if away else seen(t)
            for t, away in zip(times, hidden, strict=True)
        ]
    )
    missing = found.time_s[found.state == FaceState.NO_FACE]
    assert missing.min() == pytest.approx(2.0, abs=1 / rate_hz)
    assert missing.max() == pytest.approx(4.0, abs=max(1 / rate_hz, 0.04) + 1e-6)
    assert np.isnan(found.values[found.state == FaceState.NO_FACE]).all()


@pytest.mark.parametrize(
    ("rate_hz", "dropped", "gap"),
    [
        (25, 1, True),
        (30, 1, True),
        (30, 12, True),
        (15, 1, True),
        (60, 1, False),
        (60, 4, True),
        (240, 8, False),
    ],
)
def test_frames_that_a_camera_dropped_show_as_a_gap(rate_hz: int, dropped: int, gap: bool) -> None:
    """Unless frames are so dense that hardly one of ours is without any."""
    kept = [number for number in range(4 * rate_hz) if not 2 * rate_hz < number <= 2 * rate_hz + dropped]
    found = features([seen(number / rate_hz) for number in kept])
    inside = found.state == FaceState.NO_FRAME
    assert inside.any() == gap
    assert not found.valid[inside].any()
    times = found.time_s[inside]
    assert ((times > 2.0) & (times < 2.0 + (dropped + 1) / rate_hz)).all()
    assert found.valid[(found.time_s > 0) & (found.time_s < 2.0)].all()
    assert found.valid[found.time_s > 2.0 + (dropped + 1) / rate_hz + 0.08].all()


def test_a_webcam_that_halves_its_rate_in_the_dark_is_followed() -> None:
    times = [n / 30 for n in range(60)] + [2.0 + n / 15 for n in range(60)]
    found = features([seen(time_s) for time_s in times])
    assert not found.valid[(found.time_s > 2.0) & (found.time_s < 2.2)].all()
    assert found.valid[found.time_s > 2.5].all()


def test_no_delta_from_one_persons_face_to_anothers() -> None:
    found = features(
        [seen(n / 25, 1.0, face=0) for n in range(10)] + [seen(n / 25, 3.0, face=1) for n in range(10, 20)]
    )
    assert found.face.tolist() == [0] * 10 + [1] * 10
    assert np.flatnonzero(~found.valid).tolist() == [0, 10]
    assert found.values[10, 0] == 3.0
    assert np.isnan(found.values[10, STATIC:]).all()
    between = features([seen(n / 20, float(n < 10), face=int(n >= 10)) for n in range(20)])
    assert set(between.values[np.isfinite(between.values[:, 0]), 0].tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("rate_hz", [20.0, 25.0, 30.0, 60.0, 240.0])
def test_now_is_the_features_at_the_last_frames_own_time(rate_hz: float) -> None:
    stream = FeatureStream(source_neutral())
    times = np.arange(round(2 * rate_hz)) / rate_hz
    traces = np.stack(list(map(waves, times.tolist())))
    ticks: dict[int, FeatureFrame] = {}
    for index, time_s in enumerate(times.tolist()):
        ticks |= {round(frame.time_s * 25): frame for frame in stream.push(seen(time_s))}
        now = stream.now()
        assert (now.time_s, now.state, now.face) == (time_s, FaceState.SEEN, 0)
        assert np.array_equal(now.values[:STATIC], traces[index])
        if time_s < 0.0385:
            assert not now.valid
            continue
        earlier = np.array([np.interp(time_s - 0.04, times, trace) for trace in traces.T])
        assert now.values[STATIC:] == pytest.approx(traces[index] - earlier, abs=1.6e-3)
        assert now.valid
        tick = ticks.get(round(time_s * 25))
        if rate_hz == 25.0 and tick is not None:
            assert np.array_equal(now.values, tick.values)
    with pytest.raises(ShapeError, match="at least one observed frame"):
        FeatureStream(source_neutral()).now()


def test_now_has_no_delta_over_a_gap_or_another_face() -> None:
    stream = FeatureStream(source_neutral())
    films = [
        [seen(0.0), seen(0.04), seen(0.6)],
        [seen(0.64), seen(0.68, face=1)],
        [nothing_seen(0.72, FaceState.NO_FACE)],
    ]
    for film in films:
        for observation in film:
            stream.push(observation)
        now = stream.now()
        assert not now.valid
        assert np.isnan(now.values[STATIC:]).all()


def test_a_stream_and_a_file_give_the_same_numbers() -> None:
    generator = np.random.default_rng(4)
    times = np.cumsum(generator.uniform(0.02, 0.05, 200)).tolist()
    film = [seen(t, float(generator.uniform(-1, 4))) for t in times]
    film[50:60] = [nothing_seen(o.time_s, FaceState.NO_FACE) for o in film[50:60]]
    stream = FeatureStream(RunningNeutral())
    frames = [frame for observation in film for frame in stream.push(observation)]
    found = features_of(iter(film))
    assert np.array_equal(found.values, np.stack([frame.values for frame in frames]), equal_nan=True)
    assert found.time_s.tolist() == [frame.time_s for frame in frames]
    assert found.state.tolist() == [frame.state for frame in frames]


def test_a_video_without_a_face_has_no_valid_frame() -> None:
    found = features([nothing_seen(number * 0.04, FaceState.NO_FACE) for number in range(30)])
    assert not found.valid.any()
    assert np.isnan(found.values).all()


def test_what_comes_late_starts_late() -> None:
    """A camera whose first frames came without a picture: the clock starts all the same."""
    found = features([seen(1.0 + number / 25) for number in range(10)])
    assert (found.state[:25] == FaceState.NO_FRAME).all()
    assert found.valid[26:].all()


def test_a_single_frame_is_no_recording() -> None:
    assert features([seen(0.0)]).valid.tolist() == [False]
    with pytest.raises(ShapeError, match="at least one observed frame"):
        features([])


@pytest.mark.parametrize(
    "times", [(0.0, 0.04, 0.04), (0.04, 0.0), (-0.04,), (1e9,), (float("nan"),), (float("inf"),)]
)
def test_times_that_cannot_be_are_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(ShapeError, match="a frame at"):
        features([seen(time_s, 1.0) for time_s in times])


def test_a_camera_may_be_watched_for_ever_and_a_file_may_last_for_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mien_client.features.LONGEST_FRAMES", 25 * 4)  # days are short in tests
    film = [seen(number / 5) for number in range(30)]
    stream = FeatureStream(RunningNeutral())
    assert sum(len(stream.push(observation)) for observation in film) == 146
    with pytest.raises(ShapeError, match="more than a day after"):
        stream.push(seen(10.0))
    assert len(features(film[:20]).valid) == 96
    with pytest.raises(ShapeError, match="may last for a day"):
        features(film)


def test_memory_stays_flat() -> None:
    """Half an hour may cost its 160 bytes a frame and little more; no object is kept for each."""

    def film(seconds: int) -> Iterator[Observation]:
        return (seen(number / 25, 1.0) for number in range(25 * seconds))

    def peak(seconds: int) -> int:
        tracemalloc.start()
        features_of(film(seconds))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    # From 70 s on: until then the running neutral learns, and keeps what it has seen.
    short, long = peak(70), peak(190)
    assert (long - short) / (25 * 120) < 1.3 * (160 + 8 + 4 + 1 + 1)


def test_the_clock_is_that_of_the_features() -> None:
    for last_s in (0.0, 0.039, 0.0399, 1.0, 3.97):
        times = [*np.arange(0, last_s, 0.03).tolist(), last_s]
        found = features([seen(a) for a, b in pairwise([*times, 9.0]) if a < b])
        assert np.array_equal(found.time_s, clock_for(last_s))


@pytest.mark.parametrize("first", [True, False])
def test_between_a_face_and_none_the_reason_for_missing_is_said_whichever_is_nearer(first: bool) -> None:
    """At 0.04 s, between 0.03 and 0.07 or between 0.01 and 0.05: near one neighbour, far from the other."""
    for times in ([0.0, 0.03, 0.07], [0.0, 0.01, 0.05]):
        present = [True, first, not first]
        film = [
            seen(time_s) if there else nothing_seen(time_s, FaceState.NO_FACE)
            for time_s, there in zip(times, present, strict=True)
        ]
        found = features(film)
        assert found.state[1] == FaceState.NO_FACE
        assert np.isnan(found.values[1]).all()
    reasons = [nothing_seen(0.0, FaceState.NO_FACE), nothing_seen(0.03, FaceState.DARK)]
    assert features([*reasons, nothing_seen(0.07, FaceState.NO_FACE)]).state[1] == FaceState.DARK, (
        "the nearer"
    )
