"""The neutral face: subtracted, learnt without the future, another for another person."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien_client.calibration import (
    FRONTAL_RAD,
    LEARNING_S,
    PRIOR_S,
    QUANTILE,
    UNITS,
    KnownNeutral,
    Neutral,
    RunningNeutral,
    source_neutral,
)
from mien_client.observations import FaceState, Observation, nothing_seen
from mien_common.schema import STATIC_CHANNELS

POSE = slice(UNITS, len(STATIC_CHANNELS))


def face(
    time_s: float, units: NDArray[np.floating] | float = 0.0, yaw: float = 0.0, who: int = 0
) -> Observation:
    values = np.zeros(len(STATIC_CHANNELS), np.float32)
    values[:UNITS] = units
    values[UNITS + 1] = yaw
    return Observation(time_s, FaceState.SEEN, values, who)


def film(seconds: float, seed: int = 0, start_s: float = 0.0, rate_hz: float = 25.0) -> list[Observation]:
    """A face whose every unit does something."""
    generator = np.random.default_rng(seed)
    rest = generator.normal(0, 1, UNITS)
    frames = round(seconds * rate_hz)
    return [
        face(start_s + number / rate_hz, rest + generator.exponential(0.8, UNITS)) for number in range(frames)
    ]


def after(neutral: Neutral, observations: Sequence[Observation]) -> list[NDArray[np.float32]]:
    return [neutral.intensities(seen) for seen in observations]


@given(st.lists(st.floats(-10, 10, width=32), min_size=UNITS, max_size=UNITS), st.integers(0, 2**32 - 1))
def test_what_is_left_is_the_units_above_the_neutral_and_the_pose(rest: list[float], seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 4, len(STATIC_CHANNELS)).astype(np.float32)
    values[generator.integers(UNITS)] = np.nan
    neutral = np.array(rest, np.float32)
    seen = Observation(0.0, FaceState.COVERED, values.copy())
    found = KnownNeutral(neutral).intensities(seen)
    assert np.array_equal(found[POSE], values[POSE])
    assert np.array_equal(seen.values, values, equal_nan=True), "the observation itself was changed"
    for raw, own, intensity in zip(values[:UNITS], neutral, found[:UNITS], strict=True):
        assert np.isnan(intensity) if np.isnan(raw) else intensity == min(max(raw - own, 0), 5)


def test_a_source_that_is_above_a_neutral_already_is_taken_as_it_is() -> None:
    values = np.linspace(0, 5, len(STATIC_CHANNELS)).astype(np.float32)
    assert np.array_equal(source_neutral().intensities(Observation(0.0, FaceState.SEEN, values)), values)
    assert source_neutral().kind == "source"


def test_the_running_neutral_is_the_low_quantile_so_far_weighed_against_the_average_face() -> None:
    observations, neutral = film(20.0), RunningNeutral()
    for number, seen in enumerate(observations, start=1):
        neutral.intensities(seen)
        if number in (1, 2, 3, 10, 77, 500):
            past = np.stack([each.values[:UNITS] for each in observations[:number]]).astype(np.float64)
            seconds = (number - 1) / 25
            expected = np.quantile(past, QUANTILE, axis=0, method="lower") * seconds / (seconds + PRIOR_S)
            assert neutral.units == pytest.approx(expected, abs=1e-5)


def test_the_first_frame_is_measured_against_the_average_face() -> None:
    assert after(RunningNeutral(), [face(0.0, 2.0)])[0][:UNITS] == pytest.approx(2.0)


def test_a_minute_of_rest_is_recognised_as_rest() -> None:
    """Of a face that rests for a third of the time and acts for the rest, at three frame rates."""
    for rate_hz in (10.0, 25.0, 60.0):
        rest = np.linspace(-2, 2, UNITS)
        acts = [
            face(n / rate_hz, rest + (2.5 if (n / rate_hz) % 6 > 2 else 0.0))
            for n in range(round(61 * rate_hz))
        ]
        neutral = RunningNeutral()
        after(neutral, acts)
        weight = LEARNING_S / (LEARNING_S + PRIOR_S)
        assert neutral.units == pytest.approx(rest * weight, abs=0.01)


def test_it_stands_still_after_a_minute_of_face() -> None:
    neutral = RunningNeutral()
    after(neutral, film(61.0, seed=1))
    learnt = neutral.units.copy()
    after(neutral, film(30.0, seed=2, start_s=61.0))
    assert np.array_equal(neutral.units, learnt)


def test_only_a_face_that_looks_into_the_camera_teaches() -> None:
    neutral = RunningNeutral()
    after(neutral, [face(number / 25, 3.0, yaw=1.05 * FRONTAL_RAD) for number in range(100)])
    after(neutral, [face(4 + number / 25, 3.0, yaw=float("nan")) for number in range(100)])
    after(neutral, [nothing_seen(8 + number / 25, FaceState.NO_FACE) for number in range(100)])
    assert not neutral.units.any()
    after(neutral, [face(12 + number / 25, 3.0, yaw=0.95 * FRONTAL_RAD) for number in range(100)])
    assert (neutral.units > 0.5).all()


def test_time_without_a_face_does_not_count_as_learnt() -> None:
    """A minute of an empty room must not leave a person with an unlearnt neutral for good."""
    neutral = RunningNeutral()
    after(neutral, [nothing_seen(number / 25, FaceState.NO_FACE) for number in range(25 * 90)])
    after(neutral, [face(90 + number / 25, 2.0) for number in range(25 * 61)])
    assert neutral.units == pytest.approx(2.0 * LEARNING_S / (LEARNING_S + PRIOR_S), abs=0.01)


def test_a_hidden_unit_neither_teaches_nor_ages() -> None:
    neutral, reference = RunningNeutral(), RunningNeutral()
    seen, partly = film(10.0, seed=3), film(10.0, seed=3)
    for observation in partly[50:200]:
        observation.values[4] = np.nan
    after(neutral, partly)
    after(reference, seen)
    assert np.array_equal(np.delete(neutral.units, 4), np.delete(reference.units, 4))
    past = [observation.values[4] for observation in partly if np.isfinite(observation.values[4])]
    seconds = (len(past) - 1) / 25
    expected = np.quantile(past, QUANTILE, method="lower") * seconds / (seconds + PRIOR_S)
    assert neutral.units[4] == pytest.approx(expected, abs=1e-5)


def test_another_face_starts_anew() -> None:
    first, second = film(30.0, seed=5), film(30.0, seed=6, start_s=30.0)
    switched = [Observation(seen.time_s, seen.state, seen.values, 1) for seen in second]
    assert np.array_equal(
        np.stack(after(RunningNeutral(), [*first, *switched])[len(first) :]),
        np.stack(after(RunningNeutral(), switched)),
    )
    known = KnownNeutral(np.ones(UNITS, np.float32))
    assert (known.intensities(face(0.0, 2.0, who=3))[:UNITS] == 1.0).all(), "a calibration serves every face"


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_nothing_that_comes_later_changes_what_was_said(cut: int, seed: int) -> None:
    common = film(cut / 5, seed=7, rate_hz=5.0)
    futures = [film(10.0, seed=seed + turn, start_s=cut / 5, rate_hz=5.0) for turn in (0, 1)]
    one, other = (after(RunningNeutral(), [*common, *future]) for future in futures)
    assert np.array_equal(np.stack(one[:cut]), np.stack(other[:cut]))
