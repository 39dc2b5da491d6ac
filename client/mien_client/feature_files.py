"""Features that another program extracted: a lab that has OpenFace 2 or py-feat files needs no video.

Enters: a CSV file of either program. Leaves: ``au-v1`` features on the 25 Hz clock, like those of a
video. Their numbers stay on their extractor's own scale, which the session's record names; nothing is
subtracted from them. An extractor's channel that a file does not have is missing in every frame.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import FeatureFileError
from mien_common.schema import AU_CHANNELS, AU_V1, LONGEST_FRAMES, POSE_CHANNELS, STATIC_CHANNELS

from .calibration import source_neutral
from .csv_columns import header_of
from .features import MODEL_CHANNELS, Features, features_of
from .observations import FaceState, Observation

Extractor = Literal["openface", "py-feat"]

FEWEST_UNITS: Final = 8
"""py-feat's smallest models give nine of our action units; with fewer a face says too little."""
LONGEST_S: Final = (LONGEST_FRAMES - 1) / AU_V1.rate_hz
STEP_S: Final = 1e-3
"""Time stamps of three decimals: two rows this close are one moment."""


@dataclass(frozen=True)
class Track:
    """What a file says of one face, in time order."""

    time_s: NDArray[np.float64]
    """(rows,) seconds since the recording's start."""
    values: NDArray[np.float32]
    """(rows, 20) in the order of ``STATIC_CHANNELS``; NaN where the file has none."""
    seen: NDArray[np.bool_]
    """(rows,) whether the program found the face."""


def extractor_of(columns: list[str]) -> Extractor | None:
    """Which program wrote a CSV file with these columns."""
    names = {name.strip() for name in columns}
    if {"success", "AU12_r"} <= names:
        return "openface"
    if {"AU12", "AU01"} <= names:
        return "py-feat"
    return None


def is_feature_file(path: Path) -> bool:
    """Whether a file is a CSV file of features that can be taken; any other answer is no."""
    try:
        return path.is_file() and extractor_of(header_of(path)) is not None
    except (FeatureFileError, OSError):
        return False


def features_from_file(
    path: Path, rate_hz: float | None, note: Callable[[str], None]
) -> tuple[Features, Extractor]:
    """The features in a CSV file of OpenFace 2 or py-feat.

    Parameters
    ----------
    rate_hz : frames a second of the recording, in place of the file's own times.
    note : told what of the file is not taken, and what had to be guessed.

    Raises
    ------
    FeatureFileError
        It is no such file, damaged, or tells too little.
    """
    from .openface_csv import read_openface
    from .pyfeat_csv import read_pyfeat

    if rate_hz is not None and not 0 < rate_hz <= 1000:
        raise FeatureFileError(f"a rate of {rate_hz:g} frames a second cannot be; up to 1000 works.")
    extractor = extractor_of(header_of(path))
    match extractor:
        case "openface":
            track = read_openface(path, rate_hz, note)
        case "py-feat":
            track = read_pyfeat(path, rate_hz, note)
        case None:
            raise FeatureFileError(
                f"{path} is no CSV file of OpenFace 2 (success, AU12_r, …) or py-feat (AU01, AU12, …). "
                "Give the extractor's own output, unchanged."
            )
    absent = [name for name in STATIC_CHANNELS if not np.isfinite(_channel(track, name)).any()]
    if len(set(AU_CHANNELS) - set(absent)) < FEWEST_UNITS:
        raise FeatureFileError(
            f"{path} holds {len(set(AU_CHANNELS) - set(absent))} of the 17 action units with a face; "
            f"at least {FEWEST_UNITS} are needed. Extract them again."
        )
    if absent:
        note(f"{path} has no {_in_words(absent)}: missing in every frame of the session.")
    _check_times(path, track.time_s)
    features = features_of(_observations(track), source_neutral())
    return _valid_without(features, absent), extractor


def rows_at_moments(time_s: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which rows to keep so that times rise: in time order, the first of those at one moment."""
    order: NDArray[np.intp] = np.argsort(time_s, kind="stable")
    rising = np.ones(len(order), bool)
    rising[1:] = np.diff(time_s[order]) >= STEP_S / 2
    return np.compress(rising, order)


def _observations(track: Track) -> Iterator[Observation]:
    for time_s, values, seen in zip(track.time_s, track.values, track.seen, strict=True):
        state = FaceState.SEEN if seen else FaceState.NO_FACE
        yield Observation(float(time_s), state, values)


def _valid_without(features: Features, absent: list[str]) -> Features:
    """Frames count although channels are missing that the file never had: else none ever would."""
    present = np.array([name.removesuffix("_delta") not in absent for name in AU_V1.channels])
    needed = MODEL_CHANNELS & present
    valid: NDArray[np.bool_] = np.all(np.isfinite(features.values[:, needed]), axis=1)
    return replace(features, valid=valid)


def _check_times(path: Path, time_s: NDArray[np.float64]) -> None:
    if time_s[0] < 0 or time_s[-1] > LONGEST_S:
        raise FeatureFileError(
            f"{path} has times from {time_s[0]:g} to {time_s[-1]:g} s; from 0 to a day works."
        )


def _channel(track: Track, name: str) -> NDArray[np.float32]:
    return np.compress(track.seen, track.values[:, STATIC_CHANNELS.index(name)])


def _in_words(absent: list[str]) -> str:
    units = [name.removesuffix("_r") for name in absent if name not in POSE_CHANNELS]
    pose = ["head pose"] if set(POSE_CHANNELS) <= set(absent) else [n for n in absent if n in POSE_CHANNELS]
    return ", ".join(units + pose)
