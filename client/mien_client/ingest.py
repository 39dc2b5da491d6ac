"""One video in, one session folder out.

Follows a frame: :mod:`capture` decodes it, the confined :mod:`face_process` turns it into 20 numbers,
:mod:`features` puts those on the 25 Hz clock, :mod:`sessions` writes them. No pixel is written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien_common.errors import VideoError
from mien_common.files import remove_old_drafts, sha256_of
from mien_common.schema import AU_V1

from .capture import open_video
from .face_process import FaceProcess
from .features import Features, features_of
from .observations import FaceState, Observation
from .openface_csv import openface_csv
from .ratings import on_clock, read_ratings
from .sessions import Session, new_session_folder, session_record, write_session
from .site import Site

Progress = Callable[[int, int], None]
"""Called with frames done and frames expected (0 where the file does not say)."""

SHORTEST_FACE_S: Final = 1.0
ABANDONED_AFTER_S: Final = 24 * 3600.0
"""A session that was being written a day ago is not being written any more."""


@dataclass(frozen=True)
class Ingested:
    """What became of a video."""

    folder: Path
    frames: int
    valid_frames: int
    held_out: bool
    rated: bool


def observe_video(path: Path, progress: Progress) -> Features:
    """The ``au-v1`` features of a video file.

    Raises
    ------
    VideoError
        It is not a video, is damaged, or shows no face for a second in all.
    ConfinementError
        The face process cannot be confined, or died.
    """
    with open_video(path) as video, FaceProcess(video.height, video.width) as face:
        observations = list(_counted(face.analyse(video.frames()), video.expected_frames, progress))
    features = features_of(observations)
    if features.valid.sum() < SHORTEST_FACE_S * AU_V1.rate_hz:
        found = sum(seen.state == FaceState.SEEN for seen in observations)
        raise VideoError(
            f"{path} shows a face in {found} of {len(observations)} frames, too few to learn from. "
            "Check framing and light; the face should be at least 60 pixels wide."
        )
    return features


def ingest(
    site: Site, video: Path, ratings: Path | None, *, held_out: bool, csv: bool, progress: Progress
) -> Ingested:
    """Turn a video, and its ratings where there are any, into a session of ``site``.

    Parameters
    ----------
    held_out : keep the session out of training, to test the global model on it.
    csv : also write ``openface.csv`` into the session's folder.

    Raises
    ------
    VideoError, RatingsError
        The input cannot be used; nothing is written.
    SessionError
        The video has been ingested before.
    StorageError
        The session cannot be written; nothing is left behind.
    """
    rated = read_ratings(ratings) if ratings is not None else None
    with open_video(video):  # a file that is no video is refused before it is read whole for its hash
        digest = sha256_of(video)
    remove_old_drafts(site.sessions, ABANDONED_AFTER_S)
    session_id = f"{_plain(video.stem)}-{digest[:8]}"
    new_session_folder(site.sessions, session_id)  # asked now, not after minutes of analysis
    features = observe_video(video, progress)
    values = on_clock(rated, features.time_s, ratings) if rated is not None and ratings is not None else None
    record = session_record(
        session_id=session_id,
        features=features,
        rated=values is not None,
        held_out=held_out,
        source=video,
        source_sha256=digest,
    )
    extra = {"openface.csv": openface_csv(features)} if csv else None
    folder = write_session(site.sessions, Session(record, features, values), extra)
    return Ingested(folder, record.frames, record.valid_frames, held_out, record.rated)


def _counted(observations: Iterator[Observation], expected: int, progress: Progress) -> Iterator[Observation]:
    for done, observation in enumerate(observations, start=1):
        yield observation
        progress(done, max(expected, done))


def _plain(stem: str) -> str:
    """A file name's stem with only characters that are safe in a folder name."""
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in stem)
    return kept.strip("-")[:80] or "session"
