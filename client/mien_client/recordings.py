"""Which recordings lie under the paths a person gave, and which ratings belong to each.

Enters: files and folders. Leaves: :class:`Recording`, one per video file, folder of images or CSV file
of features, each with its ratings' file where there is one. Only names and the heads of CSV files are read.
"""

import hashlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from mien_common.errors import InputError, RatingsError, SettingsError, VideoError
from mien_common.files import is_there

from .feature_files import is_feature_file
from .sources import ADDRESS_FOR_FILE, is_address
from .sources.image_folder import images_in, natural_order

VIDEO_SUFFIXES: Final = frozenset(
    (
        *(".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv", ".y4m"),
    )
)
FEWEST_IMAGES: Final = 5
"""A folder met on the way with fewer pictures than this holds pictures, not a recording."""

_END_BYTES: Final = 64 * 1024

Kind = Literal["video", "images", "features"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recording:
    """Something to make a session of."""

    path: Path
    kind: Kind = "video"
    ratings: Path | None = None
    within: Path = Path()
    """The folder it lies in, seen from the folder that was given."""


def find_recordings(
    paths: Sequence[Path], ratings: Path | None, leave_out: Path, say: Say
) -> list[Recording]:
    """Every recording under ``paths``: in the order given, and in natural order within folders.

    Parameters
    ----------
    ratings : a CSV file for a single recording; or a folder of ``<stem>.csv``, sub-folders as the
        recordings have them; or None to take the ``<stem>.csv`` beside each recording.
    leave_out : a folder that is not looked into: the site's own.
    say : takes a line about what was left out.

    Raises
    ------
    VideoError
        A folder holds no recording.
    RatingsError
        ``ratings`` is not there, or is one file for several recordings.
    """
    found: list[Recording] = []
    for path in paths:
        if is_address(path):
            raise VideoError(ADDRESS_FOR_FILE)
        if os.path.isdir(path):  # noqa: PTH112  # never raises: what cannot be looked at fails alone
            found += _in_folder(path, leave_out, say)
        else:
            found.append(Recording(path, "features" if path.suffix.lower() == ".csv" else "video"))
    unique = {os.path.realpath(recording.path): recording for recording in reversed(found)}
    return _with_ratings(list(reversed(unique.values())), ratings)


def content_hash(recording: Recording, check_on: Callable[[], None]) -> str:
    """SHA-256 of what is in a recording, whatever it is called; of a folder, of its pictures in order.

    ``check_on`` is called now and then, and may raise to stop.

    Raises
    ------
    InputError
        It cannot be read.
    """
    if recording.kind != "images":
        return _hash_of(recording.path, check_on)
    digests = "".join(_hash_of(path, check_on) for path in images_in(recording.path))
    return hashlib.sha256(digests.encode()).hexdigest()


def probably_twins(recordings: Sequence[Recording]) -> list[list[int]]:
    """Places of recordings that look like the same content, those with ratings first; told in no time.

    Files of one size that begin and end alike. Only :func:`content_hash` knows for sure.
    """
    groups: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for place, recording in enumerate(recordings):
        if recording.kind != "images":
            with suppress(OSError):
                groups[_look_of(recording.path)].append(place)
    return [
        sorted(places, key=lambda place: recordings[place].ratings is None)
        for places in groups.values()
        if len(places) > 1
    ]


def _look_of(path: Path) -> tuple[int, bytes]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        ends = file.read(_END_BYTES)
        file.seek(max(status.st_size - _END_BYTES, 0))
        ends += file.read(_END_BYTES)
    return status.st_size, hashlib.sha256(ends).digest()


def _hash_of(path: Path, check_on: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113  # never raises
        raise InputError(f"{path} is not a file.")  # a pipe would be waited for, for ever
    try:
        with path.open("rb") as file:
            while piece := file.read(4 * 1024 * 1024):
                digest.update(piece)
                check_on()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def _in_folder(top: Path, leave_out: Path, say: Say) -> Iterator[Recording]:
    """Recordings of a folder and the folders in it; links to folders are not followed."""
    found, forbidden = 0, os.path.realpath(leave_out)
    for folder, inner, _ in os.walk(top, onerror=_unreadable):
        inner[:] = sorted(
            (name for name in inner if name[0] != "." and os.path.realpath(Path(folder, name)) != forbidden),
            key=natural_order,
        )
        if os.path.realpath(folder) == forbidden:
            inner.clear()
            continue
        for recording in _right_in(Path(folder), top, say):
            found += 1
            yield recording
    if not found:
        raise VideoError(
            f"{top} holds no video, no folder of images and no CSV file of features that is known here. "
            "Name the file itself if its ending is unusual."
        )


def _right_in(folder: Path, top: Path, say: Say) -> Iterator[Recording]:
    names = _visible_files(folder, say)
    videos = [name for name in names if _suffix(name) in VIDEO_SUFFIXES]
    within = folder.relative_to(top)
    filmed = {Path(name).stem for name in videos}
    for name in names:
        path = folder / name
        if _suffix(name) in VIDEO_SUFFIXES:
            yield Recording(path, "video", within=within)
        elif _suffix(name) == ".csv" and is_feature_file(path):
            if path.stem in filmed:
                say(f"{path} is left out: the video it was made from lies beside it")
            else:
                yield Recording(path, "features", within=within)
    images = len(images_in(folder))
    if images and not videos and (folder == top or images >= FEWEST_IMAGES):
        yield Recording(folder, "images", within=within.parent if folder != top else Path())


def _with_ratings(recordings: list[Recording], ratings: Path | None) -> list[Recording]:
    if ratings is None:
        return [_rated_by(recording, [_beside(recording)]) for recording in recordings]
    if not is_there(ratings):
        raise RatingsError(f"cannot read {ratings}: No such file or directory")
    if ratings.is_dir():
        stems = Counter(recording.path.stem for recording in recordings)
        return [
            _rated_by(recording, _in_ratings_folder(recording, ratings, stems)) for recording in recordings
        ]
    if len(recordings) != 1:
        raise SettingsError(
            f"{ratings} is one file and there are {len(recordings)} recordings. Give --ratings a folder with "
            "a <name>.csv for each, or put each beside its video."
        )
    return [replace(recordings[0], ratings=ratings)]


def _rated_by(recording: Recording, candidates: list[Path]) -> Recording:
    for path in candidates:
        # What another tool made of the same video is no ratings; anything else there is meant as such.
        # os.path and not pathlib: a name that is too long is simply not there.
        if path != recording.path and os.path.isfile(path) and not is_feature_file(path):  # noqa: PTH113
            return replace(recording, ratings=path)
    return recording


def _beside(recording: Recording) -> Path:
    return recording.path.parent / f"{_stem(recording)}.csv"


def _in_ratings_folder(recording: Recording, folder: Path, stems: Counter[str]) -> list[Path]:
    name = f"{_stem(recording)}.csv"
    candidates = [folder / recording.within / name]
    if stems[recording.path.stem] == 1:  # else it could be another recording's of that name
        candidates.append(folder / name)
    return candidates


def _stem(recording: Recording) -> str:
    return recording.path.name if recording.kind == "images" else recording.path.stem


def _visible_files(folder: Path, say: Say) -> list[str]:
    """Names of ordinary files, without hidden ones (a Mac's ``._film.mp4`` is no film)."""
    names = []
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if entry.name[0] != "."]
            for entry in sorted(visible, key=lambda entry: natural_order(entry.name)):
                if entry.is_file():
                    names.append(entry.name)
                elif _suffix(entry.name) in VIDEO_SUFFIXES and not entry.is_dir():
                    # A pipe, a device, or a link that leads nowhere: it looks like a film that is expected.
                    say(f"{entry.path} is left out: it is no ordinary file")
    except OSError as error:
        raise _unreadable_folder(error, folder) from error
    return names


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _unreadable(error: OSError) -> None:
    raise _unreadable_folder(error, error.filename) from error


def _unreadable_folder(error: OSError, folder: object) -> InputError:
    return InputError(
        f"cannot read the folder {folder}: {error.strerror}. Leave it out, or make it readable."
    )
