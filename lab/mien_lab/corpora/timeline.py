"""Traces on a common clock: by their times, never by row numbers.

Enters: tables with a time column. Leaves: values on the frames of one clock. A release whose features lack
the first row (RECOLA: 7,500 of 7,501) is so put right without being told of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import InputError

from .table import Table

TIME_NAMES: Final = ("time", "frametime", "timestamp", "time_s", "frame_time", "timestamps")
ON_TIME_S: Final = 2e-3
"""A row this close to a frame is that frame's own; one of two decimals at 30 Hz is interpolated."""
LONGEST_CUT_S: Final = 1.0
"""Features and ratings of one recording may begin and end this far apart."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Series:
    """Traces with their times."""

    path: Path
    time_s: NDArray[np.float64]
    """(rows,) strictly rising."""
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    """(rows, columns); NaN where unknown."""

    def only(self, columns: Sequence[str]) -> "Series":
        """Some of the columns, in this order."""
        places = [self.columns.index(name) for name in columns]
        return Series(self.path, self.time_s, tuple(columns), self.values[:, places])


def series_from(
    table: Table,
    note: Note,
    *,
    time_first: bool = False,
    timeless_hz: float | None = None,
    leave_out: Sequence[str] = (),
) -> Series:
    """A table's traces, its time column taken off.

    Parameters
    ----------
    note : told of rows that are left out.
    time_first : the first column is the time, whatever it is called.
    timeless_hz : rows a second, from 0 s on, where there is no time column.
    leave_out : columns, in lower case, that are no traces.

    Raises
    ------
    InputError
        It has no time column, no other, or times that are missing or fall.
    """
    names = [name.lower() for name in table.columns]
    found = [names.index(name) for name in TIME_NAMES if name in names]
    others = [column for column, name in enumerate(names) if name not in leave_out]
    if not found and timeless_hz is not None:
        note(f"{table.path.name}: no time column, taken as {timeless_hz:g} rows a second")
        columns = tuple(table.columns[column] for column in others)
        return Series(
            table.path, np.arange(len(table.values)) / timeless_hz, columns, table.values[:, others]
        )
    if not found and not time_first:
        raise InputError(f"{table.path} has no column time. Its columns are {_some(table.columns)}.")
    place = found[0] if found else 0
    time_s = table.values[:, place]
    where = f"{table.path}, column {table.columns[place]}"
    if not np.isfinite(time_s).all():
        raise InputError(f"{where}: row {int(np.argmin(np.isfinite(time_s))) + 1} has no time.")
    steps = np.diff(time_s)
    if (steps < 0).any():
        row = int(np.argmax(steps < 0)) + 2
        raise InputError(
            f"{where}: row {row} ({time_s[row - 1]:g}) is before the row above it. Sort by time."
        )
    first = np.concatenate([[True], steps > 0])
    if not first.all():
        note(f"{table.path.name}: of rows with the same time the first is taken, {np.sum(~first)} left out")
    others.remove(place)
    if not others:
        raise InputError(f"{table.path} has no column but {table.columns[place]}.")
    columns = tuple(table.columns[column] for column in others)
    return Series(table.path, time_s[first], columns, table.values[first][:, others])


def rate_of(series: Series) -> float:
    """Rows a second, gaps left aside; whole where it nearly is.

    Raises
    ------
    InputError
        There are fewer than two rows, or the rate is beyond 0.1 to 1000 Hz.
    """
    if len(series.time_s) < 2:
        raise InputError(f"{series.path} holds {len(series.time_s)} row. A recording needs many.")
    steps = np.diff(series.time_s)
    rate = float(np.rint(steps / np.median(steps)).sum() / (series.time_s[-1] - series.time_s[0]))
    if not 0.1 <= rate <= 1000:
        raise InputError(
            f"{series.path} has {rate:g} rows a second; 0.1 to 1000 work. Are its times in seconds?"
        )
    return float(round(rate)) if abs(rate - round(rate)) < 2e-3 * rate else round(rate, 3)


def common_frames(
    parts: Sequence[Series], rate_hz: float, note: Note, longest_cut_s: float = LONGEST_CUT_S
) -> NDArray[np.int64]:
    """The numbers of the clock's frames, frame 0 at 0 s, during which every part lasts.

    Parameters
    ----------
    parts : the features first, then the ratings.

    Raises
    ------
    InputError
        One part begins or ends more than ``longest_cut_s`` from another.
    """
    starts = np.array([part.time_s[0] for part in parts])
    ends = np.array([part.time_s[-1] for part in parts])
    for times, what in ((starts, "begin"), (ends, "end")):
        low, high = int(np.argmin(times)), int(np.argmax(times))
        apart = times[high] - times[low]
        if apart > longest_cut_s + ON_TIME_S:
            raise InputError(
                f"{parts[low].path} {what}s at {times[low]:g} s and {parts[high].path} at {times[high]:g} s. "
                f"Up to {longest_cut_s:g} s is cut; do the two belong to one recording?"
            )
        if apart > ON_TIME_S:
            one, other = ("features" if place == 0 else "ratings" for place in (low, high))
            note(f"cut, as {one} {what} at {times[low]:g} s and {other} at {times[high]:g} s")
    first = int(np.ceil((starts.max() - ON_TIME_S) * rate_hz))
    last = int(np.floor((ends.min() + ON_TIME_S) * rate_hz))
    if last - first < 1:
        raise InputError(f"{parts[0].path} and {parts[-1].path} have less than two frames in common.")
    return np.arange(first, last + 1)


def on_clock(series: Series, clock_s: NDArray[np.float64], longest_step_s: float) -> NDArray[np.float32]:
    """The traces at the clock's times: a row's own values where there is one, else on the line between two.

    Returns
    -------
    (frames, columns) float32; NaN before, after, beside a missing value, and across steps longer than
    ``longest_step_s``.
    """
    time_s, values = series.time_s, series.values
    right = np.clip(np.searchsorted(time_s, clock_s), min(1, len(time_s) - 1), len(time_s) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(clock_s - time_s[left] < time_s[right] - clock_s, left, right)
    exact = np.abs(time_s[nearest] - clock_s) <= ON_TIME_S
    result = values[nearest].astype(np.float32)
    between = ~exact
    if between.any():  # seldom: releases have a row at each frame
        left, right, at = left[between], right[between], clock_s[between]
        step = time_s[right] - time_s[left]
        share = np.divide(at - time_s[left], step, out=np.full(at.shape, np.nan), where=step > 0)
        drawn = values[left] * (1 - share)[:, None] + values[right] * share[:, None]
        drawn[~((step <= longest_step_s) & (share >= 0) & (share <= 1))] = np.nan
        result[between] = drawn
    return result


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
