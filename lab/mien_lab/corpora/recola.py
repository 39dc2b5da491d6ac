"""RECOLA as its authors release it: six raters' traces and 40 video attributes of each participant.

``RECOLA-Annotation/emotional_behaviour/{arousal,valence}/P16.csv``: ``;`` between cells, ``time`` and the
raters ``FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3`` with blanks in their names, 7,501 rows at 25 Hz.
``RECOLA-Video-features/P16.arff`` or ``.csv``: the time first, then 15 action units, 3 head rotations, 2 of
optical flow, and the differences of these (Ringeval et al., 2013, table II); 7,500 rows, the first missing.
"""

from pathlib import Path
from typing import Final

import numpy as np

from mien_common.errors import FeatureFileError

from .admission import admit, in_one_note, require_same_channels
from .corpus import Corpus, RatedRecording
from .folders import find_folder
from .pairing import measured_from, pair
from .release import RATE_HZ, by_target, features_series, files_by_name, missing_in, read_raters
from .timeline import ON_TIME_S, Series

ANNOTATIONS: Final = "RECOLA-Annotation/emotional_behaviour"
FEATURES: Final = "RECOLA-Video-features"


def read_recola(path: Path, features: str | None = None) -> Corpus:
    """The corpus in RECOLA's own folder.

    Parameters
    ----------
    features : folder of the features under ``path``; the release's own when None.

    Raises
    ------
    InputError
        A folder or file is missing or wrong; the message names file and field.
    """
    ratings = find_folder(path, wanted="RECOLA", places=(ANNOTATIONS, "emotional_behaviour"))
    folder = find_folder(path, wanted="RECOLA's features", places=(features or FEATURES,))
    valence, arousal = by_target(ratings)
    files = files_by_name(folder)
    notes: list[str] = []
    for name in missing_in(files, valence):
        raise FeatureFileError(
            f"{folder} holds no features of participant {name}, who is in {valence[name]}."
        )
    for name in missing_in(valence, files):
        notes.append(f"{name}: features and no ratings, left out")
    recordings: list[RatedRecording] = []
    first: Series | None = None
    for name in sorted(valence):
        series = features_series(files[name], notes.append, time_first=True)
        _require_frames(series)
        first = first or series
        require_same_channels(first.path, first.columns, series.path, series.columns)
        rated = read_raters(valence[name], arousal[name], notes.append)
        measured = measured_from(series, zeros_are_missing=True)
        recordings.append(pair(name, name, measured, rated, RATE_HZ, files[name], notes.append))
    channels = first.columns if first is not None else ()
    return admit("RECOLA", channels, RATE_HZ, recordings, note=in_one_note(notes))


def _require_frames(series: Series) -> None:
    """Raise FeatureFileError unless the first column is a time at 25 Hz, as nothing but its place says so."""
    step_s = float(np.median(np.diff(series.time_s))) if len(series.time_s) > 1 else 0.0
    if abs(step_s - 1.0 / RATE_HZ) > ON_TIME_S:
        raise FeatureFileError(
            f"{series.path}: the first column should be the time in seconds, every 0.04 s; its steps are "
            f"{step_s:g}. Give the release's own features."
        )
