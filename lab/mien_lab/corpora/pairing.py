"""Features and ratings of one recording, put together on one clock.

Enters: traces with times. Leaves: a :class:`~mien_lab.corpora.corpus.RatedRecording`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import RatingsError
from mien_common.schema import TARGETS

from .corpus import RatedRecording
from .timeline import LONGEST_CUT_S, Note, Series, common_frames, on_clock

LONGEST_RATED_STEP_S: Final = 2.0
"""As for a site's own ratings: two that are farther apart are not interpolated between."""
_BRIDGED_FRAMES: Final = 1.75
"""Features are interpolated over less than two of their own intervals, as the agent does."""


@dataclass(frozen=True)
class Rated:
    """What was rated in one recording."""

    raters: tuple[str, ...]
    by_target: tuple[Series, Series] | None
    """Valence and arousal: a column per rater, ordered as ``raters``; None where there is only a gold."""
    gold: tuple[Series, Series] | None = None
    """Valence and arousal: one column each."""

    @property
    def parts(self) -> tuple[Series, ...]:
        """All traces."""
        return (self.by_target or ()) + (self.gold or ())


@dataclass(frozen=True)
class Measured:
    """What was measured in one recording."""

    series: Series
    valid: NDArray[np.bool_]
    """(rows,) whether the face was there."""


def pair(
    name: str,
    participant: str,
    measured: Measured,
    rated: Rated,
    rate_hz: float,
    source: Path,
    note: Note,
    longest_cut_s: float = LONGEST_CUT_S,
) -> RatedRecording:
    """One recording on the clock, cut to the time in which it has features and ratings.

    Raises
    ------
    InputError
        Features and ratings do not cover the same time.
    RatingsError
        A rating is outside −1 to 1, or a rater rated nothing.
    """
    for part in rated.parts:
        check_ratings(part)
    parts = [measured.series, *rated.parts]
    frames = common_frames(parts, rate_hz, lambda said: note(f"{name}: {said}"), longest_cut_s)
    clock_s = frames / rate_hz
    features = on_clock(measured.series, clock_s, _BRIDGED_FRAMES / rate_hz)
    flags = Series(source, measured.series.time_s, ("valid",), measured.valid[:, None].astype(np.float64))
    valid = on_clock(flags, clock_s, _BRIDGED_FRAMES / rate_hz)[:, 0] == 1.0
    ratings = np.empty((0, len(frames), len(TARGETS)), np.float32)
    if rated.by_target is not None:
        traces = [on_clock(part, clock_s, LONGEST_RATED_STEP_S) for part in rated.by_target]
        ratings = np.ascontiguousarray(np.stack(traces, axis=-1).transpose(1, 0, 2))
    gold = None
    if rated.gold is not None:
        gold = np.concatenate([on_clock(part, clock_s, LONGEST_RATED_STEP_S) for part in rated.gold], axis=1)
    return RatedRecording(name, participant, features, valid, rated.raters, ratings, gold, source)


def check_ratings(part: Series) -> None:
    """Raise RatingsError where a rating is outside −1 to 1, or a column has none."""
    wrong = np.argwhere(np.abs(part.values) > 1.0)
    if wrong.size:
        row, column = wrong[0]
        raise RatingsError(
            f"{part.path}, column {part.columns[column]}: {part.values[row, column]:g} "
            f"at {part.time_s[row]:g} s is outside −1 to 1. Rescale the ratings."
        )
    empty = ~np.isfinite(part.values).any(axis=0)
    if empty.any():
        column = int(np.argmax(empty))
        raise RatingsError(
            f"{part.path}, column {part.columns[column]}: no rating at all. "
            "Leave the column out, for valence and arousal."
        )


def by_raters(valence: Series, arousal: Series) -> Rated:
    """Two files of one recording whose columns are raters; arousal's brought into valence's order.

    Raises
    ------
    RatingsError
        There is no rater, or one rated only one of the two.
    """
    for part, other in ((valence, arousal), (arousal, valence)):
        missing = [name for name in other.columns if name not in part.columns]
        if missing:
            raise RatingsError(
                f"{part.path} has no rater {missing[0]}, and {other.path} has. Both need the same."
            )
    raters = valence.columns
    if not raters:
        raise RatingsError(f"{valence.path} has no column of a rater.")
    return Rated(raters, (valence, arousal.only(raters)))


def measured_from(series: Series, *, zeros_are_missing: bool = False) -> Measured:
    """Features whose file does not say where the face was: where every channel that it ever has is known.

    Parameters
    ----------
    zeros_are_missing : a row of nothing but zeros has no face either, and its values are unknown.
    """
    values = series.values
    if zeros_are_missing:
        values = np.where((values == 0.0).all(axis=1, keepdims=True), np.nan, values)
    known = np.isfinite(values)
    valid: NDArray[np.bool_] = np.all(known[:, known.any(axis=0)], axis=1) & np.any(known, axis=1)
    return Measured(Series(series.path, series.time_s, series.columns, values), valid)
