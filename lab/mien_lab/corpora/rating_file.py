"""Ratings of one recording in one CSV file, of one rater or several.

Enters: ``time,valence,arousal`` or ``time,valence_ANNA,arousal_ANNA,valence_BEN,…``. Leaves: traces by rater.
"""

from pathlib import Path
from typing import Final

from mien_common.errors import RatingsError
from mien_common.schema import TARGETS

from .pairing import Rated
from .table import read_table
from .timeline import Note, Series, series_from

ONE_RATER: Final = "rater"


def read_rating_file(path: Path, note: Note) -> Rated:
    """The ratings in a file.

    Raises
    ------
    RatingsError
        A column is neither time, valence nor arousal, or a rater has only one of the two.
    InputError
        The file is damaged.
    """
    series = series_from(read_table(path), note)
    names = {name.lower(): name for name in series.columns}
    if set(names) == set(TARGETS):
        columns = {ONE_RATER: tuple(names[target] for target in TARGETS)}
    else:
        columns = _by_rater(path, series)
    raters = tuple(columns)
    valence, arousal = (
        _renamed(series.only([pair[place] for pair in columns.values()]), raters) for place in (0, 1)
    )
    return Rated(raters, (valence, arousal))


def _by_rater(path: Path, series: Series) -> dict[str, tuple[str, ...]]:
    raters: dict[str, dict[str, str]] = {}
    for name in series.columns:
        target, _, rater = name.partition("_")
        if target.lower() not in TARGETS or not rater:
            raise RatingsError(
                f"{path}, column {name}: neither time nor a rating. Use time,valence,arousal or "
                "time,valence_RATER,arousal_RATER,…"
            )
        raters.setdefault(rater, {})[target.lower()] = name
    for rater, given in raters.items():
        missing = [target for target in TARGETS if target not in given]
        if missing:
            raise RatingsError(f"{path} has no column {missing[0]}_{rater}; rater {rater} needs both.")
    return {rater: tuple(given[target] for target in TARGETS) for rater, given in raters.items()}


def _renamed(series: Series, raters: tuple[str, ...]) -> Series:
    return Series(series.path, series.time_s, raters, series.values)
