"""One recording in, one session folder out.

Follows a frame: :mod:`sources` decodes it, the confined :mod:`~mien_client.face.process` turns it into 20
numbers, :mod:`features` puts those on the 25 Hz clock, :mod:`sessions` writes them. No pixel is written.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien_common.errors import InputError, VideoError
from mien_common.files import remove_old_drafts
from mien_common.schema import AU_V1

from .calibration import Neutral, NeutralKind, RunningNeutral
from .face.confinement_record import write_face_process_record
from .face.seat import FaceSeat
from .feature_files import features_from_file
from .features import Features, features_of
from .known_recordings import AlreadyHereError, KnownRecordings
from .observations import FaceState, Observation
from .openface_csv import openface_csv
from .participants import neutral_for
from .ratings import on_clock, read_ratings
from .recordings import Kind, Recording, content_hash
from .sessions import (
    FeaturesFrom,
    Session,
    new_session_folder,
    seconds_by_state,
    session_record,
    write_session,
)
from .site import Site
from .sources import Source, open_source
from .state_words import seen_in_words, shares_of

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with frames done and frames expected (0 where the file does not say); may raise to stop."""

SHORTEST_FACE_S: Final = 1.0
ABANDONED_AFTER_S: Final = 24 * 3600.0
"""A session that was being written a day ago is not being written any more."""


@dataclass(frozen=True)
class Choices:
    """What holds for every recording of one ingest."""

    held_out: bool = False
    """Keep the sessions out of training, to test the global model on them."""
    csv: bool = False
    """Also write ``openface.csv`` into each session's folder."""
    rate_hz: float | None = None
    """Images a second of folders of images; 25 when None."""
    participant: str | None = None
    """Whose face it is, for their calibration."""
    confined: bool = True
    """False where the user allowed a face process that is not confined."""


@dataclass(frozen=True)
class Ingested:
    """What became of a recording."""

    folder: Path
    frames: int
    """Of the 25 Hz clock."""
    valid_frames: int
    held_out: bool
    rated: bool
    seen: dict[FaceState, float]
    """Share of the time in each state."""
    neutral: NeutralKind
    confined: bool


@dataclass(frozen=True)
class Report:
    """Whom an ingest tells how it is going."""

    progress: Progress
    check_on: Callable[[], None] = lambda: None
    """Called now and then while nothing progresses; may raise to stop."""
    note: Callable[[str], None] = log.warning
    """Told, in a sentence, what a person should know of a recording that is taken all the same."""


def observe_video(path: Path, progress: Progress) -> Features:
    """The ``au-v1`` features of a video file, above a neutral face learnt from its first minute.

    Raises
    ------
    VideoError
        It is not a video, is damaged, or shows no face for a second in all.
    ConfinementError
        The face process cannot be confined, or died.
    """
    with FaceSeat() as faces:
        return observe(Recording(path), None, faces, RunningNeutral(), Report(progress))


def observe(
    recording: Recording, rate_hz: float | None, faces: FaceSeat, neutral: Neutral, report: Report
) -> Features:
    """The features of a video or a folder of images.

    Parameters
    ----------
    rate_hz : images a second of a folder; 25 when None.
    faces : keeps the face process for the next recording.
    neutral : the resting face that is subtracted.
    """
    with _opened(recording, rate_hz, report) as source:
        face = faces.take(source.height, source.width)
        observations = face.analyse(source.frames())
        features = features_of(_counted(observations, source.expected_frames, report.progress), neutral)
    _require_a_face(recording, features)
    return features


def ingest(
    site: Site,
    path: Path,
    ratings: Path | None,
    *,
    held_out: bool,
    csv: bool,
    progress: Progress,
    kind: Kind = "video",
) -> Ingested:
    """Turn one recording, and its ratings where there are any, into a session of ``site``.

    See :func:`ingest_recording`.
    """
    choices = Choices(held_out, csv)
    with KnownRecordings(site) as known, FaceSeat() as faces:
        return ingest_recording(site, Recording(path, kind, ratings), choices, known, faces, Report(progress))


def ingest_recording(
    site: Site,
    recording: Recording,
    choices: Choices,
    known: KnownRecordings,
    faces: FaceSeat,
    report: Report,
) -> Ingested:
    """Turn a recording, and its ratings where there are any, into a session of ``site``.

    Raises
    ------
    VideoError, RatingsError
        The input cannot be used; nothing is written.
    SettingsError, InputError
        No participant can be called so, or their calibration is damaged.
    AlreadyHereError
        The site has this recording, perhaps under another name; the message says what to do.
    BeingIngestedError
        Another process is ingesting this very recording.
    StorageError
        The session cannot be written; nothing is left behind.
    """
    path, ratings = recording.path, recording.ratings
    rated = read_ratings(ratings) if ratings is not None else None
    # What is no recording is refused before it is read whole for its hash.
    with nullcontext() if recording.kind == "features" else _opened(recording, choices.rate_hz, report):
        digest = content_hash(recording, report.check_on)
    remove_old_drafts(site.sessions, ABANDONED_AFTER_S)
    with known.claim(digest, report.check_on):
        session_id = f"{_plain(path.stem)}-{digest[:8]}"
        new_session_folder(site.sessions, session_id)  # asked now, not after minutes of analysis
        made = _features(site, recording, choices, faces, report)
        features = made.features
        values = (
            on_clock(rated, features.time_s, ratings) if rated is not None and ratings is not None else None
        )
        record = session_record(
            session_id=session_id,
            features=features,
            rated=values is not None,
            held_out=choices.held_out,
            source=path,
            source_sha256=digest,
            participant=choices.participant,
            neutral=made.neutral,
            features_from=made.extractor,
            confined=made.confined,
        )
        extra = {"openface.csv": openface_csv(features)} if choices.csv else None
        folder = write_session(site.sessions, Session(record, features, values), extra)
    return Ingested(
        folder,
        record.frames,
        record.valid_frames,
        record.held_out,
        record.rated,
        shares_of(record.seconds),
        record.neutral,
        record.confined,
    )


@dataclass(frozen=True)
class _Made:
    """Features, and what a session's record says of how they came about."""

    features: Features
    extractor: FeaturesFrom
    neutral: NeutralKind
    confined: bool


def _features(site: Site, recording: Recording, choices: Choices, faces: FaceSeat, report: Report) -> _Made:
    if recording.kind == "features":
        features, extractor = features_from_file(recording.path, choices.rate_hz, report.note)
        _require_a_face(recording, features)
        return _Made(features, extractor, "source", confined=True)  # there was no frame to look at
    neutral, said = neutral_for(site, choices.participant)
    if choices.participant is not None and neutral.kind != "calibration":
        report.note(said)
    features = observe(recording, choices.rate_hz, faces, neutral, report)
    return _Made(features, "mediapipe", neutral.kind, _keep_word_of(faces, site))


def _require_a_face(recording: Recording, features: Features) -> None:
    if features.valid.sum() < SHORTEST_FACE_S * AU_V1.rate_hz:
        shares = seen_in_words(shares_of(seconds_by_state(features)))
        raise VideoError(
            f"{recording.path} shows too little of a face to learn from: {shares}. "
            "Check framing and light; the face should be at least 36 pixels wide, 60 is better."
        )


def announced_frames(recording: Recording) -> int | None:
    """How many frames a recording says it has; None where it does not, 0 where there are none to analyse."""
    if recording.kind == "features":
        return 0
    try:
        with _opened(recording, None, Report(lambda _done, _expected: None)) as source:
            return source.expected_frames or None
    except InputError:
        return 0


def why_skipped(error: AlreadyHereError, recording: Recording, choices: Choices) -> str:
    """In what the session that is here differs from what was asked for, and what to do about it."""
    known = error.known
    differences = []
    if recording.ratings is not None and not known.rated:
        differences.append("without these ratings")
    if known.held_out != choices.held_out:
        differences.append("held out" if known.held_out else "not held out")
    if choices.participant is not None and known.participant != choices.participant:
        differences.append(f"of {known.participant}" if known.participant else "of nobody who was named")
    here = f"already here as {known.folder}"
    if not differences:
        return here
    return f"{here}, {' and '.join(differences)}. Remove that folder and ingest it again to change this."


def _keep_word_of(faces: FaceSeat, site: Site) -> bool:
    """Write down how the face process was confined; whether it was."""
    process = faces.process
    if process is None:
        return True
    write_face_process_record(site.state, process.confinement, process.restarts)
    return process.confinement.get("confined") is True


def _opened(recording: Recording, rate_hz: float | None, report: Report) -> AbstractContextManager[Source]:
    return open_source(
        recording.path, rate_hz=rate_hz if recording.kind == "images" else None, say=report.note
    )


def _counted(observations: Iterator[Observation], expected: int, progress: Progress) -> Iterator[Observation]:
    for done, observation in enumerate(observations, start=1):
        yield observation
        progress(done, max(expected, done) if expected else 0)


def _plain(stem: str) -> str:
    """A file name's stem with only characters that are safe in a folder name."""
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in stem)
    return kept.strip("-")[:80] or "session"
