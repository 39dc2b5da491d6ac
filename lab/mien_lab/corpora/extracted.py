"""Folders of OpenFace 2's or py-feat's CSV files, with ratings: the numbers that ``mien agent ingest`` takes.

``NAME.csv`` is the extractor's own output, unchanged; its ratings are ``NAME.ratings.csv`` beside it or
``ratings/NAME.csv``. Features, validity and the ratings' clock are the agent's own code, so that a study's
figures hold for the sites that join with such files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.feature_files import Extractor, features_from_file, is_feature_file
from mien_client.features import MODEL_CHANNELS
from mien_client.ratings import Ratings, on_clock
from mien_common.errors import FeatureFileError, InputError
from mien_common.schema import AU_V1

from .admission import admit, in_one_note
from .corpus import Corpus, Partition, RatedRecording
from .folders import require_folder
from .pairing import check_ratings
from .participants_file import PARTICIPANTS_FILE, person_of, read_participants, require_all_there
from .rating_file import read_rating_file
from .timeline import Note, Series

RATINGS_END: Final = ".ratings.csv"
RATINGS_FOLDER: Final = "ratings"


@dataclass(frozen=True)
class _Found:
    """A feature file and its ratings."""

    name: str
    """Seen from the corpus's folder, without its ending."""
    features: Path
    ratings: Path


def read_extracted(path: Path, extractor: Extractor) -> Corpus:
    """The corpus in a folder of an extractor's files.

    Raises
    ------
    InputError
        The folder holds none, one is another extractor's, ratings are missing, or a file is damaged; the
        message names it.
    """
    notes: list[str] = []
    found = _find(path, extractor, notes.append)
    people = read_participants(path)
    require_all_there(people, [each.name for each in found], path / PARTICIPANTS_FILE)
    partitions: dict[str, Partition] = {}
    recordings = []
    for each in found:
        person = person_of(people, each.name, path / PARTICIPANTS_FILE)
        recordings.append(_recording(each, person.name, extractor, notes))
        if person.partition is not None:
            partitions[person.name] = person.partition
    return admit(
        path.name,
        AU_V1.channels,
        AU_V1.rate_hz,
        recordings,
        partitions=partitions,
        note=in_one_note(notes),
    )


def _find(path: Path, extractor: Extractor, note: Note) -> list[_Found]:
    require_folder(path)
    found = []
    for file in sorted(path.rglob("*.csv")):
        inside = file.relative_to(path)
        own = inside.parts[0] != RATINGS_FOLDER and not file.name.endswith(RATINGS_END)
        if not own or file.name == PARTICIPANTS_FILE:
            continue
        if not is_feature_file(file):
            note(f"{inside}: no extractor's file, left out")
            continue
        name = inside.with_suffix("").as_posix()
        beside, apart = _places(path, file)
        ratings = next((each for each in (beside, apart) if each.is_file()), None)
        if ratings is None:
            raise InputError(f"{file} has no ratings: neither {beside} nor {apart} is there.")
        found.append(_Found(name, file, ratings))
    used = {place for each in found for place in _places(path, each.features)}
    for ratings in sorted({*path.rglob(f"*{RATINGS_END}"), *(path / RATINGS_FOLDER).rglob("*.csv")} - used):
        raise InputError(f"{ratings} has no features: no file of {extractor} is called so.")
    if not found:
        raise InputError(f"{path} holds no CSV file of {extractor}: looked for NAME.csv with its columns.")
    return found


def _places(path: Path, file: Path) -> tuple[Path, Path]:
    """Where the ratings of a feature file may be."""
    return file.with_name(file.stem + RATINGS_END), path / RATINGS_FOLDER / file.relative_to(path)


def _recording(found: _Found, participant: str, extractor: Extractor, notes: list[str]) -> RatedRecording:
    features, wrote_it = features_from_file(found.features, None, notes.append)
    if wrote_it != extractor:
        raise FeatureFileError(
            f"{found.features} was written by {wrote_it}, and corpus.kind is {extractor!r}. "
            "Their numbers have different scales; keep them in two folders."
        )
    rated = read_rating_file(found.ratings, notes.append)
    for part in rated.parts:
        check_ratings(part)
    ratings = np.stack([_on_agents_clock(part, features.time_s) for part in rated.parts], axis=-1)
    values = np.where(MODEL_CHANNELS, features.values, np.float32(np.nan)).astype(np.float32)
    return RatedRecording(
        found.name,
        participant,
        values,
        features.valid,
        rated.raters,
        ratings,
        None,
        found.features,
    )


def _on_agents_clock(part: Series, clock: NDArray[np.float64]) -> NDArray[np.float32]:
    """(raters, frames) each rater's trace as the agent interpolates ratings.

    The agent's function takes pairs of valence and arousal; a rater's trace is given to it as both.
    """
    traces = []
    for column in part.values.T:
        known = np.isfinite(column)
        given = Ratings(part.time_s[known], np.repeat(column[known, None], 2, axis=1))
        traces.append(on_clock(given, clock, part.path)[:, 0])
    return np.stack(traces)
