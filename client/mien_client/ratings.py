"""Continuous valence/arousal ratings of a recording, from a CSV file onto the feature clock.

Enters: a CSV file ``time,valence,arousal`` (seconds; both in [−1, 1]). Leaves: two traces at 25 Hz.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import InputError, RatingsError
from mien_common.files import is_there, read_bounded
from mien_common.schema import TARGETS

LIMIT_BYTES: Final = 64 * 1024 * 1024
HEADER: Final = ("time", *TARGETS)
LONGEST_STEP_S: Final = 2.0
"""Two ratings farther apart than this are not interpolated between."""
SHORTEST_OVERLAP_S: Final = 1.0


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
        text = read_bounded(path, LIMIT_BYTES).decode("utf-8-sig")
    except InputError as error:
        raise RatingsError(str(error)) from error
    except UnicodeDecodeError as error:
        raise RatingsError(f"{path} is not a text file. Give a CSV file {','.join(HEADER)}.") from error
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise RatingsError(f"{path} is not a CSV file: {error}.") from error
    if not rows or tuple(cell.strip().lower() for cell in rows[0]) != HEADER:
        raise RatingsError(f"{path} must begin with the line {','.join(HEADER)} (seconds, then −1 to 1).")
    numbered = [(number, row) for number, row in enumerate(rows[1:], start=2) if row]
    if len(numbered) < 2:
        raise RatingsError(f"{path} holds {len(numbered)} ratings; at least two are needed.")
    values = np.array([_row(path, number, row) for number, row in numbered])
    falls = np.flatnonzero(np.diff(values[:, 0]) <= 0)
    if falls.size:
        before, after = values[falls[0] : falls[0] + 2, 0]
        raise RatingsError(
            f"{path}, line {numbered[falls[0] + 1][0]}: the time {after:g} is not after {before:g}, the line "
            "before. Sort the file by time."
        )
    return Ratings(values[:, 0], values[:, 1:])


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
