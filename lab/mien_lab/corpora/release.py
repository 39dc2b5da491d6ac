"""What RECOLA's and AVEC's releases share: a folder per target, a file per recording, raters as columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mien_common.errors import FeatureFileError, RatingsError
from mien_common.schema import TARGETS

from .folders import entry
from .pairing import Rated, by_raters
from .table import SUFFIXES, read_table
from .timeline import Note, Series, series_from

RATE_HZ: Final = 25.0
"""Of RECOLA's ratings and video (Ringeval et al., 2013)."""
_NAMES: Final = ("name", "instance_name")
_NOT_TRACES: Final = ("class", *_NAMES)


def files_by_name(folder: Path) -> dict[str, Path]:
    """The tables in a folder, by their names without ending; where there are both, the ``.arff``."""
    found = sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), reverse=True)
    return {path.stem: path for path in found if path.is_file() and path.name[0] != "."}


def by_target(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files of ratings of valence and of arousal, by recording.

    Raises
    ------
    RatingsError
        A folder is missing, empty, or a recording is in one and not in the other.
    """
    sides = []
    for target in TARGETS:
        side = entry(folder, target)
        files = files_by_name(side) if side is not None else {}
        if not files:
            raise RatingsError(f"{folder / target} is not there or holds no ratings (.csv or .arff).")
        sides.append(files)
    valence, arousal = sides
    for name in sorted(set(valence) ^ set(arousal)):
        given, lacking = (valence, "arousal") if name in valence else (arousal, "valence")
        raise RatingsError(
            f"{given[name]} has no counterpart: {folder / lacking} holds no ratings of {name}."
        )
    return valence, arousal


def read_raters(valence: Path, arousal: Path, note: Note) -> Rated:
    """Two files of one recording, with a time column and a column per rater.

    Raises
    ------
    RatingsError
        A rater is missing in one of them.
    """
    sides = (ratings_series(path, note) for path in (valence, arousal))
    return by_raters(*sides)


def read_gold(valence: Path, arousal: Path, note: Note) -> tuple[Series, Series]:
    """Two files of one recording, each with its gold standard: the one column beside the time.

    Raises
    ------
    RatingsError
        There are several columns.
    """
    both = tuple(ratings_series(path, note) for path in (valence, arousal))
    for part in both:
        if len(part.columns) != 1:
            raise RatingsError(
                f"{part.path} has {len(part.columns)} columns beside the time, a gold standard one."
            )
    return both[0], both[1]


def ratings_series(path: Path, note: Note) -> Series:
    """Ratings of one target."""
    return series_from(read_table(path), note, leave_out=_NOT_TRACES)


def features_series(path: Path, note: Note, *, time_first: bool) -> Series:
    """Features of one recording.

    Raises
    ------
    InputError
        The file is damaged, or holds several recordings.
    """
    table = read_table(path)
    several = [words for name, words in table.words.items() if name.lower() in _NAMES and len(words) > 1]
    if several:
        raise FeatureFileError(
            f"{path} holds several recordings ({', '.join(several[0][:3])}, …). Give a file per recording."
        )
    timeless_hz = None if time_first else RATE_HZ
    return series_from(table, note, time_first=time_first, timeless_hz=timeless_hz, leave_out=_NOT_TRACES)


def missing_in(files: Mapping[str, Path], names: Mapping[str, Path]) -> list[str]:
    """Recordings in ``names`` that ``files`` lacks."""
    return [name for name in sorted(names) if name not in files]
