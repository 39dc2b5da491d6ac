"""Sessions as OpenFace 2 writes them, and files of OpenFace 2 as a source of features.

Out: ``frame, face_id, timestamp, confidence, success``, head rotation in OpenFace's axes and AU
intensities, in OpenFace's order with its blanks after the commas. Nothing is invented: columns that we
have no numbers for (gaze, landmarks, head position, presence of action units) are left out, and where
there is no number a cell says ``nan``. ``confidence`` is 1 where the face was measured and else 0.

In: the same columns. A frame is missing where ``success`` is 0 or ``confidence`` below 0.7, although
OpenFace writes numbers there.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import FeatureFileError
from mien_common.schema import AU_CHANNELS, AU_V1, POSE_CHANNELS, STATIC_CHANNELS

from .csv_columns import read_columns
from .feature_files import Track, rows_at_moments
from .features import Features
from .head_turn import from_camera_axes, to_camera_axes
from .observations import FaceState

LEAST_CONFIDENCE: Final = 0.7
"""Below it OpenFace's author takes landmark detection for failed (TadasBaltrusaitis/OpenFace#270)."""

_FIRST: Final = ("frame", "face_id", "timestamp", "confidence", "success")
_POSE: Final = slice(len(AU_CHANNELS), len(STATIC_CHANNELS))


def openface_csv(features: Features) -> bytes:
    """The CSV file's content: one row per frame of the 25 Hz clock."""
    units = features.values[:, [AU_V1.channels.index(name) for name in AU_CHANNELS]]
    pose = to_camera_axes(features.values[:, [AU_V1.channels.index(name) for name in POSE_CHANNELS]])
    measured = np.isin(features.state, (FaceState.SEEN, FaceState.COVERED))
    text = io.StringIO()
    text.write(", ".join([*_FIRST, *POSE_CHANNELS, *AU_CHANNELS]) + "\n")
    rows = zip(features.time_s, features.face, measured, np.concatenate([pose, units], axis=1), strict=True)
    for number, (time_s, face, seen, values) in enumerate(rows, start=1):
        numbers = ", ".join(f"{value:.4f}" for value in values.tolist())
        text.write(f"{number}, {face}, {time_s:.3f}, {float(seen):.2f}, {int(seen)}, {numbers}\n")
    return text.getvalue().encode()


def read_openface(path: Path, rate_hz: float | None, note: Callable[[str], None]) -> Track:
    """One face of an OpenFace file: the one that was found in the most frames.

    Parameters
    ----------
    rate_hz : frames a second, to use the frames' numbers and not their time stamps.

    Raises
    ------
    FeatureFileError
        It is damaged, or does not say when its frames were.
    """
    table = read_columns(path, (*_FIRST, *POSE_CHANNELS, *AU_CHANNELS))
    success = table["success"]
    if not len(success):
        raise FeatureFileError(f"{path} holds no frame. Extract it again.")
    # Versions before 2.0 have no face_id; confidence has always been there.
    seen = (success == 1) & ~(table.get("confidence", np.ones(len(success))) < LEAST_CONFIDENCE)
    table = _one_face(path, table, seen, note)
    seen = table.pop("seen")
    time_s = _times(path, table, rate_hz)
    values = np.full((len(time_s), len(STATIC_CHANNELS)), np.nan, np.float32)
    for column, name in enumerate(AU_CHANNELS):
        if name in table:
            values[:, column] = np.clip(table[name], 0.0, 5.0)
    if set(POSE_CHANNELS) <= set(table):
        values[:, _POSE] = from_camera_axes(*(table[name] for name in POSE_CHANNELS))
    rows = rows_at_moments(time_s)
    return Track(time_s[rows], values[rows], seen[rows])


def _one_face(
    path: Path, table: dict[str, NDArray[Any]], seen: NDArray[np.bool_], note: Callable[[str], None]
) -> dict[str, NDArray[Any]]:
    """The rows of the face seen most often, and a row without a face where only others were."""
    table = table | {"seen": seen}
    ids = table.get("face_id", np.zeros(len(seen)))
    found, frames = np.unique(ids[seen], return_counts=True)
    if len(found) < 2:
        return table
    most = found[np.argmax(frames)]
    note(f"{path} holds {len(found)} faces; face_id {most:g}, seen longest, is taken.")
    own = (ids == most) & seen
    # Its own rows come first, so that they stay where several rows are at one moment.
    order = np.concatenate([np.flatnonzero(own), np.flatnonzero(~own)])
    return {name: column[order] for name, column in (table | {"seen": own}).items()}


def _times(path: Path, table: dict[str, NDArray[Any]], rate_hz: float | None) -> NDArray[np.float64]:
    if rate_hz is not None and "frame" in table:
        time_s: NDArray[np.float64] = (table["frame"] - 1) / rate_hz  # OpenFace counts from 1
    elif "timestamp" in table:
        time_s = table["timestamp"]
    else:
        raise FeatureFileError(
            f"{path} has no time stamps. Give --rate-hz, or extract it with FeatureExtraction from the video."
        )
    if not np.isfinite(time_s).all():
        raise FeatureFileError(f"{path} has rows without a time. Extract it again.")
    return time_s
