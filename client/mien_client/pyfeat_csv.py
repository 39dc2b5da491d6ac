"""CSV files of py-feat as a source of features.

Enters: a ``Fex`` table that py-feat saved. Leaves: a :class:`~mien_client.feature_files.Track`.

py-feat gives probabilities of action units in [0, 1]; times 5 they have the range of intensities.
Its AU43 (eyes closed) is taken for AU45 (blink). A row without numbers is a frame without a face.

Its ``Pitch, Roll, Yaw`` mean different things in different versions, and a file does not name its own.
Up to 0.6 they are degrees (``convert_to_euler`` in ``facepose_detectors/utils.py``: the angles of the
transposed rotation, roll and yaw negated), so that they are known by their size and are taken. From 0.7
on they are radians, "Roll" and "Yaw" being the turns about y and z (``rotation_matrix_to_img2pose_euler``),
and the model of version 2 has signs of its own: they are left out, as a wrong pose is worse than none.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import FeatureFileError
from mien_common.schema import AU_CHANNELS, POSE_CHANNELS, STATIC_CHANNELS

from .csv_columns import read_columns
from .feature_files import Track, rows_at_moments
from .head_turn import from_camera_axes

_UNITS: Final = {name: name.removesuffix("_r") for name in AU_CHANNELS}
_EYES_CLOSED: Final = "AU43"
_POSE: Final = ("Pitch", "Roll", "Yaw")
_RECTANGLE: Final = ("FaceRectWidth", "FaceRectHeight")
_IDENTITY: Final = "Identity"
_TIME: Final = "approx_time"

_USUAL_RATES_HZ: Final = (30.0, 25.0, 24.0, 60.0, 50.0, 15.0, 29.97, 59.94, 23.976, 12.5, 10.0, 20.0, 120.0)


def read_pyfeat(path: Path, rate_hz: float | None, note: Callable[[str], None]) -> Track:
    """One face of a py-feat file: the one that is there longest, or the largest in each frame.

    Raises
    ------
    FeatureFileError
        It is damaged, or does not say when its frames were.
    """
    table = read_columns(
        path,
        (*_UNITS.values(), _EYES_CLOSED, *_POSE, *_RECTANGLE, "frame"),
        (_IDENTITY, _TIME),
    )
    if "frame" not in table or not np.isfinite(table["frame"]).all():
        raise FeatureFileError(
            f"{path} does not number its frames (column frame). Save what Detector.detect gives for a video."
        )
    if not len(table["frame"]):
        raise FeatureFileError(f"{path} holds no frame. Extract it again.")
    table = _one_face(path, table, note)
    time_s = _times(path, table, rate_hz, note)
    rows = rows_at_moments(time_s)
    values = np.full((len(time_s), len(STATIC_CHANNELS)), np.nan, np.float32)
    for channel, name in _UNITS.items():
        column = table.get(name, table.get(_EYES_CLOSED) if channel == "AU45_r" else None)
        if column is not None:
            values[:, STATIC_CHANNELS.index(channel)] = 5.0 * np.clip(column, 0.0, 1.0)
    seen: NDArray[np.bool_] = np.any(np.isfinite(values), axis=1)
    values[:, [STATIC_CHANNELS.index(name) for name in POSE_CHANNELS]] = _pose(path, table, note)
    return Track(time_s[rows], values[rows], seen[rows])


def _one_face(
    path: Path, table: dict[str, NDArray[Any]], note: Callable[[str], None]
) -> dict[str, NDArray[Any]]:
    """The rows of one person where py-feat told people apart, else of the largest face in each frame."""
    frames = table["frame"]
    if len(np.unique(frames)) == len(frames):
        return table
    people = Counter(name for name in table.get(_IDENTITY, ()) if name is not None)
    if people:
        longest = people.most_common(1)[0][0]
        note(f"{path} holds {len(people)} faces; {longest}, seen longest, is taken.")
        # Frames without this person stay, as frames without a face.
        keep = table[_IDENTITY] == longest
        others = ~keep & ~np.isin(frames, frames[keep])
        table = {name: column.copy() for name, column in table.items()}
        for name, column in table.items():
            if name not in ("frame", _IDENTITY, _TIME):
                column[others] = np.nan
        rows = np.flatnonzero(keep | others)
    else:
        note(f"{path} holds several faces in a frame; the largest of each frame is taken.")
        area = np.ones(len(frames))
        for name in _RECTANGLE:
            area = area * np.nan_to_num(table.get(name, np.ones(len(frames))))
        rows = np.lexsort((-area, frames))
    _, first = np.unique(frames[rows], return_index=True)
    return {name: column[rows[first]] for name, column in table.items()}


def _times(
    path: Path, table: dict[str, NDArray[Any]], rate_hz: float | None, note: Callable[[str], None]
) -> NDArray[np.float64]:
    """Seconds of each row: by the rate, or by the rate that fits py-feat's times in whole seconds."""
    frames: NDArray[np.float64] = table["frame"]
    if rate_hz is None:
        rate_hz = _rate_that_fits(frames, table.get(_TIME))
        if rate_hz is None:
            raise FeatureFileError(
                f"{path} does not say at how many frames a second it was filmed. Give --rate-hz."
            )
        note(f"{path} gives its times in whole seconds only; they fit {rate_hz:g} frames a second.")
    return frames / rate_hz


def _rate_that_fits(frames: NDArray[np.float64], times: NDArray[Any] | None) -> float | None:
    """The rate at which every frame falls into the whole second that ``approx_time`` names (mm:ss)."""
    if times is None:
        return None
    seconds = np.array([_whole_seconds(text) for text in times], float)
    known = np.isfinite(seconds) & (frames > 0)
    if not (known & (seconds > 0)).any():
        return None
    frames, seconds = frames[known], seconds[known]
    # second ≤ frame / rate < second + 1
    lowest = float((frames / (seconds + 1)).max())
    highest = float((frames[seconds > 0] / seconds[seconds > 0]).min())
    if not lowest < highest + 1e-9:
        return None
    usual = [rate for rate in _USUAL_RATES_HZ if lowest < rate <= highest + 1e-9]
    rate = usual[0] if usual else (lowest + highest) / 2
    return rate if 1.0 <= rate <= 1000.0 else None


def _whole_seconds(text: Any) -> float:
    match = re.fullmatch(r"([0-9]{1,4}):([0-9]{2})", text) if isinstance(text, str) else None
    return 60.0 * int(match[1]) + int(match[2]) if match else np.nan


def _pose(path: Path, table: dict[str, NDArray[Any]], note: Callable[[str], None]) -> NDArray[np.float32]:
    """(rows, 3) head rotation; NaN where it is not known what the file's columns mean."""
    nothing = np.full((len(table["frame"]), 3), np.nan, np.float32)
    if not set(_POSE) <= set(table):
        return nothing
    pitch, roll, yaw = (table[name] for name in _POSE)
    known = np.isfinite(pitch) & np.isfinite(roll) & np.isfinite(yaw)
    largest = max((float(np.abs(angle[known]).max(initial=0.0)) for angle in (pitch, roll, yaw)), default=0.0)
    if largest <= np.pi:
        note(f"{path} has head angles in radians, whose order and signs differ between py-feat's versions.")
        return nothing
    # Up to 0.6: the turn is Rx(−pitch) · Ry(yaw) · Rz(roll) in the camera's axes.
    return from_camera_axes(np.radians(-pitch), np.radians(yaw), np.radians(roll))
