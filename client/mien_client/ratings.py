"""Continuous valence/arousal ratings of a recording, from a CSV file onto the feature clock.

Enters: a CSV file ``time,valence,arousal`` (seconds; both in [−1, 1]). Leaves: two traces at 25 Hz.
"""

import csv
import math
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mien_common.errors import InputError, RatingsError
from mien_common.files import is_there, read_bounded
from mien_common.schema import TARGETS

LIMIT_BYTES: Final = 64 * 1024 * 1024
HEADER: Final = ("time", *TARGETS)
LONGEST_STEP_S: Final = 2.0
"""Two ratings farther apart than this are not interpolated between."""
SHORTEST_OVERLAP_S: Final = 1.0

_PLAIN_HEADER: Final = (b"time,valence,arousal\n", b"time,valence,arousal\r\n")
_READING: Final = pa_csv.ReadOptions(column_names=HEADER, skip_rows=1, use_threads=False)
_CONVERTING: Final = pa_csv.ConvertOptions(
    column_types=dict.fromkeys(HEADER, pa.float64()), include_columns=list(HEADER), null_values=[]
)


@dataclass(frozen=True)
class Ratings:
    """Ratings at the times they were given."""

    time_s: NDArray[np.float64]
    """(ratings,) strictly rising."""
    values: NDArray[np.float64]
    """(ratings, 2) valence, arousal in [−1, 1]."""


def read_ratings(path: Path) -> Ratings:
    """Ratings from a CSV file with the header ``time,valence,arousal``.

    Raises
    ------
    RatingsError
        The file cannot be read, has another header, holds something that is no number, NaN or out of
        [−1, 1], or its times do not rise; the message names the line.
    """
    try:
        if is_there(path) and not path.is_file():  # a pipe would be waited for, for ever
            raise RatingsError(f"{path} is not a file. Give a CSV file {','.join(HEADER)}.")
        content = read_bounded(path, LIMIT_BYTES)
    except InputError as error:
        raise RatingsError(str(error)) from error
    ratings = _all_at_once(content)
    # Whatever is not plain, or not as it should be, is read again row by row, which can say where.
    return ratings if ratings is not None else _row_by_row(path, content)


def _all_at_once(content: bytes) -> Ratings | None:
    """Ratings of a file without a fault; None where there is anything to complain of, or to think about."""
    if not content[:32].lower().startswith(_PLAIN_HEADER) or not content.isascii():
        return None
    try:
        table = pa_csv.read_csv(pa.BufferReader(content), read_options=_READING, convert_options=_CONVERTING)
    except pa.ArrowException:
        return None
    values = np.stack([column.to_numpy() for column in table.columns], axis=1)
    within = np.isfinite(values[:, 0]).all() and (np.abs(values[:, 1:]) <= 1.0).all()  # NaN is not
    if len(values) < 2 or not within or (np.diff(values[:, 0]) <= 0).any():
        return None
    return Ratings(values[:, 0], values[:, 1:])


def _row_by_row(path: Path, content: bytes) -> Ratings:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RatingsError(f"{path} is not a text file. Give a CSV file {','.join(HEADER)}.") from error
    reader = csv.reader(text.splitlines())
    values, lines = array("d"), array("q")
    try:
        header = next(reader, [])
        if tuple(cell.strip().lower() for cell in header) != HEADER:
            raise RatingsError(f"{path} must begin with the line {','.join(HEADER)} (seconds, then −1 to 1).")
        for line, row in enumerate(reader, start=2):
            if row:
                values.extend(_row(path, line, row))
                lines.append(line)
    except csv.Error as error:
        raise RatingsError(f"{path} is not a CSV file: {error}.") from error
    if len(lines) < 2:
        raise RatingsError(f"{path} holds {len(lines)} ratings; at least two are needed.")
    table = np.frombuffer(values).reshape(-1, len(HEADER))
    falls = np.flatnonzero(np.diff(table[:, 0]) <= 0)
    if falls.size:
        before, after = table[falls[0] : falls[0] + 2, 0]
        raise RatingsError(
            f"{path}, line {lines[falls[0] + 1]}: the time {after:g} is not after {before:g}, the line "
            "before. Sort the file by time."
        )
    return Ratings(table[:, 0], table[:, 1:])


def on_clock(ratings: Ratings, clock: NDArray[np.float64], path: Path) -> NDArray[np.float32]:
    """Ratings interpolated on the feature clock.

    Returns
    -------
    (frames, 2) float32; NaN outside the rated time and across long steps.

    Raises
    ------
    RatingsError
        Less than a second of the recording is rated.
    """
    columns = [
        np.interp(clock, ratings.time_s, ratings.values[:, column], left=np.nan, right=np.nan)
        for column in range(len(TARGETS))
    ]
    result = np.stack(columns, axis=1).astype(np.float32)
    right = np.clip(np.searchsorted(ratings.time_s, clock, side="left"), 1, len(ratings.time_s) - 1)
    steps = ratings.time_s[right] - ratings.time_s[right - 1]
    result[steps > LONGEST_STEP_S] = np.nan
    rated = np.isfinite(result).all(axis=1)
    step_s = clock[1] - clock[0] if len(clock) > 1 else 0.0
    if rated.sum() * step_s < SHORTEST_OVERLAP_S:
        raise RatingsError(
            f"{path} does not overlap the video: the ratings run from {ratings.time_s[0]:.1f} s to "
            f"{ratings.time_s[-1]:.1f} s, the video from 0.0 s to {clock[-1]:.1f} s. Is it this video's file?"
        )
    return result


def _row(path: Path, number: int, row: list[str]) -> tuple[float, float, float]:
    if len(row) != len(HEADER):
        raise RatingsError(f"{path}, line {number}: {len(row)} columns, expected {len(HEADER)}.")
    try:
        time_s, valence, arousal = (float(cell) for cell in row)
    except ValueError as error:
        raise RatingsError(f"{path}, line {number}: {error}. Leave out rows without a rating.") from error
    if not all(math.isfinite(number) for number in (time_s, valence, arousal)):
        raise RatingsError(f"{path}, line {number}: not a finite number. Leave out rows without a rating.")
    for name, value in (("valence", valence), ("arousal", arousal)):
        if not -1.0 <= value <= 1.0:
            raise RatingsError(
                f"{path}, line {number}: {name} {value:g} is outside −1 to 1. Rescale the ratings."
            )
    return time_s, valence, arousal
