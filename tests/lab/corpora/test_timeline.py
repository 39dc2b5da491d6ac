"""Traces on a common clock: by time, never by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_common.errors import InputError
from mien_lab.corpora.table import Table
from mien_lab.corpora.timeline import Series, common_frames, on_clock, rate_of, series_from

PATH = Path("P16.csv")


def series(time_s: NDArray[Any], values: NDArray[np.float64] | None = None) -> Series:
    values = np.sin(time_s)[:, None] if values is None else values
    return Series(PATH, time_s, tuple(f"c{place}" for place in range(values.shape[1])), values)


def test_between_rows_a_trace_is_a_straight_line_as_numpy_draws_it() -> None:
    rng = np.random.default_rng(1)
    time_s = np.cumsum(rng.uniform(0.05, 0.3, 60))
    clock = np.arange(0.5, 8.0, 0.04)
    given = series(time_s, rng.normal(size=(60, 2)))
    expected = np.stack([np.interp(clock, time_s, column) for column in given.values.T], axis=1)
    # A row within 2 ms of a frame is the frame's own.
    near = np.abs(clock[:, None] - time_s).min(axis=1) <= 2e-3
    found = on_clock(given, clock, 1.0)
    np.testing.assert_allclose(found[~near], expected[~near], atol=1e-6)
    np.testing.assert_allclose(found[near], expected[near], atol=0.2)


def test_rows_at_frames_are_kept_exactly_and_a_missing_one_stays_missing() -> None:
    time_s = np.round(np.arange(10) * 0.04, 2)
    values = np.arange(10.0)[:, None]
    values[4] = np.nan
    found = on_clock(series(time_s, values), np.arange(10) / 25, 2.0)
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_nothing_is_made_up_outside_nor_across_long_steps() -> None:
    found = on_clock(series(np.array([1.0, 2.0, 5.0])), np.array([0.9, 1.5, 2.5, 5.1]), 2.0)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), [True, False, True, True])


def test_the_missing_first_row_moves_nothing() -> None:
    ratings, features = series(np.arange(7501) * 0.04), series(np.arange(1, 7501) * 0.04)
    said: list[str] = []
    frames = common_frames([features, ratings], 25.0, said.append)
    assert (frames[0], frames[-1], len(frames)) == (1, 7500, 7500)
    assert said == ["cut, as ratings begin at 0 s and features at 0.04 s"]


def test_a_second_is_cut_and_more_is_refused() -> None:
    one, longer = series(np.arange(0, 10, 0.04)), series(np.arange(0, 10.9, 0.04))
    assert len(common_frames([one, longer], 25.0, lambda _: None)) == 250
    with pytest.raises(InputError, match=r"ends at 9\.96 s and .* at 11\.96 s. Up to 1 s is cut"):
        common_frames([one, series(np.arange(0, 12, 0.04))], 25.0, lambda _: None)


def test_series_of_other_times_have_no_frame_in_common() -> None:
    with pytest.raises(InputError, match="less than two frames in common"):
        common_frames([series(np.array([0.0, 0.5])), series(np.array([0.6, 1.2]))], 25.0, lambda _: None)


@pytest.mark.parametrize(
    ("rate_hz", "decimals"), [(25, 2), (30, 3), (29.97, 4), (2.5, 1), (50, 2), (12.5, 2), (1000, 3)]
)
def test_the_rate_is_that_of_rounded_times_with_gaps(rate_hz: float, decimals: int) -> None:
    time_s = np.round(np.arange(400) / rate_hz, decimals)
    time_s = np.delete(time_s, slice(100, 130))
    assert rate_of(series(time_s)) == pytest.approx(rate_hz, rel=2e-3)
    if rate_hz == int(rate_hz):
        assert rate_of(series(time_s)) == rate_hz


def test_milliseconds_are_not_taken_for_seconds() -> None:
    with pytest.raises(InputError, match="Are its times in seconds"):
        rate_of(series(np.arange(0, 4000, 40.0)))


def table(time: list[float], name: str = "time") -> Table:
    return Table(PATH, (name, "FM1"), np.column_stack([time, np.arange(len(time))]), {})


def test_of_rows_at_one_time_the_first_is_taken_and_that_is_said() -> None:
    said: list[str] = []
    found = series_from(table([0, 0.04, 0.04, 0.08]), said.append)
    np.testing.assert_array_equal(found.time_s, [0, 0.04, 0.08])
    np.testing.assert_array_equal(found.values[:, 0], [0, 1, 3])
    assert "1 left out" in said[0]


@pytest.mark.parametrize(
    ("time", "name", "message"),
    [
        ([0, 0.08, 0.04], "time", r"P16\.csv, column time: row 3 \(0\.04\) is before the row above"),
        ([0, np.nan, 0.04], "time", "row 2 has no time"),
        ([0, 0.04], "frame", "has no column time. Its columns are frame, FM1"),
    ],
)
def test_times_that_will_not_do_are_refused(time: list[float], name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        series_from(table(time, name), lambda _: None)
