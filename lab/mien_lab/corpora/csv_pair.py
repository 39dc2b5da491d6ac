"""Any time series with ratings: two CSV files a recording.

``NAME.features.csv`` begins with ``time`` (seconds) and has a column per channel, and perhaps ``valid``
(1 where the frame counts); ``NAME.ratings.csv`` is ``time,valence,arousal`` or, of several raters,
``time,valence_ANNA,arousal_ANNA,…``. Whose a recording is, says ``participants.csv``
(``recording,participant`` and perhaps ``partition``), else its sub-folder, else its name up to a ``_``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien_common.errors import FeatureFileError, InputError

from .admission import admit, in_one_note, require_same_channels, require_same_rate
from .corpus import Corpus, RatedRecording
from .folders import require_folder
from .pairing import Measured, measured_from, pair
from .participants_file import PARTICIPANTS_FILE, person_of, read_participants, require_all_there
from .rating_file import read_rating_file
from .table import read_table
from .timeline import Series, rate_of, series_from

FEATURES_END: Final = ".features.csv"
RATINGS_END: Final = ".ratings.csv"
_VALID: Final = "valid"


@dataclass(frozen=True)
class _Schema:
    """The first file's channels and rate, which all others must have."""

    path: Path
    channels: tuple[str, ...]
    rate_hz: float


def read_csv(path: Path) -> Corpus:
    """The corpus in a folder of pairs of CSV files.

    Raises
    ------
    InputError
        There is no such folder or no pair in it, or a file is wrong; the message names file and field.
    """
    require_folder(path)
    files = sorted(path.rglob(f"*{FEATURES_END}"))
    if not files:
        raise InputError(
            f"{path} holds no NAME{FEATURES_END}. Looked for NAME{FEATURES_END} and NAME{RATINGS_END}."
        )
    orphans = [each for each in sorted(path.rglob(f"*{RATINGS_END}")) if not _other(each).is_file()]
    if orphans:
        raise InputError(f"{orphans[0]} has no features: {_other(orphans[0])} is not there.")
    people = read_participants(path)
    names = [file.relative_to(path).as_posix().removesuffix(FEATURES_END) for file in files]
    require_all_there(people, names, path / PARTICIPANTS_FILE)
    notes: list[str] = []
    schema: _Schema | None = None
    recordings: list[RatedRecording] = []
    partitions = {}
    for name, file in zip(names, files, strict=True):
        person = person_of(people, name, path / PARTICIPANTS_FILE)
        measured, channels = _measured(file, notes)
        schema = schema or _Schema(file, channels, rate_of(measured.series))
        _require_same(schema, file, measured.series)
        ratings = _other(file)
        if not ratings.is_file():
            raise InputError(f"{file} has no ratings: {ratings} is not there.")
        rated = read_rating_file(ratings, notes.append)
        recordings.append(pair(name, person.name, measured, rated, schema.rate_hz, file, notes.append))
        if person.partition is not None:
            partitions[person.name] = person.partition
    if schema is None:
        raise InputError(f"{path} holds no recording.")
    return admit(
        path.name, schema.channels, schema.rate_hz, recordings, partitions=partitions, note=in_one_note(notes)
    )


def _other(file: Path) -> Path:
    """The ratings of features, or the features of ratings."""
    if file.name.endswith(FEATURES_END):
        return file.with_name(file.name.removesuffix(FEATURES_END) + RATINGS_END)
    return file.with_name(file.name.removesuffix(RATINGS_END) + FEATURES_END)


def _measured(file: Path, notes: list[str]) -> tuple[Measured, tuple[str, ...]]:
    series = series_from(read_table(file), notes.append)
    names = [name.lower() for name in series.columns]
    channels = tuple(name for name, low in zip(series.columns, names, strict=True) if low != _VALID)
    if not channels:
        raise FeatureFileError(f"{file} has no channel besides time and valid.")
    if _VALID not in names:
        return measured_from(series), channels
    flags = series.values[:, names.index(_VALID)]
    if not np.isin(flags, (0.0, 1.0)).all():
        raise FeatureFileError(f"{file}, column {_VALID}: only 0 and 1 can be there.")
    return Measured(series.only(channels), flags == 1.0), channels


def _require_same(schema: _Schema, file: Path, series: Series) -> None:
    require_same_channels(schema.path, schema.channels, file, series.columns)
    require_same_rate(schema.path, schema.rate_hz, file, rate_of(series))
