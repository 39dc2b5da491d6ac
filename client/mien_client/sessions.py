"""Sessions on a site: one folder each, with features, validity and ratings; never an image.

Enters: :class:`~mien_client.features.Features` and ratings on the same clock. Stays here:
``sessions/<id>/{session.json, features.parquet, ratings.parquet}``. Nothing of it leaves the site.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import InputError, SessionError
from mien_common.files import is_there, new_folder, read_bounded, write_atomic
from mien_common.schema import AU_V1, LONGEST_FRAMES, TARGETS
from mien_common.versions import versions

from .calibration import NeutralKind, ParticipantName
from .features import MODEL_CHANNELS, Features
from .observations import NOTHING_KNOWN, POSE_KNOWN, FaceState
from .site import first_problem

SESSION_FILE: Final = "session.json"
FEATURES_FILE: Final = "features.parquet"
RATINGS_FILE: Final = "ratings.parquet"

_FRAME_TYPES: Final = {"time_s": "double", "valid": "bool", "state": "uint8", "face": "int32"}
_FEATURES_TYPES: Final = _FRAME_TYPES | dict.fromkeys(AU_V1.channels, "float")
_RATINGS_TYPES: Final = {"time_s": "double"} | dict.fromkeys(TARGETS, "float")
"""Columns and their types, in Arrow's words."""
_AGAIN: Final = "Remove that session's folder and ingest its source again."
"""While the folder is there, its recording counts as ingested."""
_PIECE_ROWS: Final = 3000
"""Rows that are written at a time."""

FeaturesFrom = Literal["mediapipe", "openface", "py-feat"]
"""What made the features. Each has a scale of its own."""


class SessionRecord(BaseModel):
    """What ``session.json`` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[2]
    """Of the session's files; the first had no face state and one mask for all channels."""
    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")
    schema_name: str
    channels: tuple[str, ...]
    rate_hz: float
    frames: int = Field(gt=0, le=LONGEST_FRAMES)
    valid_frames: int = Field(ge=0)
    rated: bool
    held_out: bool
    """Never trained on: kept to test the global model."""
    participant: ParticipantName | None
    neutral: NeutralKind
    """Whose resting face was subtracted."""
    features_from: FeaturesFrom
    confined: bool
    """Whether the face process was confined; true where none was needed."""
    seconds: dict[str, float]
    """By :class:`~mien_client.observations.FaceState` in lower case; states that never were are left out."""
    switches: int = Field(ge=0)
    """How often another face was taken up."""
    source_name: str
    source_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Session:
    """A session in memory."""

    record: SessionRecord
    features: Features
    ratings: NDArray[np.float32] | None
    """(frames, 2) valence, arousal; NaN where unrated; None where the session has none."""


def session_record(
    *,
    session_id: str,
    features: Features,
    rated: bool,
    held_out: bool,
    source: Path,
    source_sha256: str,
    participant: str | None = None,
    neutral: NeutralKind,
    features_from: FeaturesFrom,
    confined: bool,
) -> SessionRecord:
    """The record of a session about to be written."""
    return SessionRecord(
        layout=2,
        id=session_id,
        schema_name=AU_V1.name,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        frames=len(features.valid),
        valid_frames=int(features.valid.sum()),
        rated=rated,
        held_out=held_out,
        participant=participant,
        neutral=neutral,
        features_from=features_from,
        confined=confined,
        seconds=seconds_by_state(features),
        switches=int(np.count_nonzero(np.diff(features.face))),
        source_name=os.fsencode(source.name).decode(errors="replace"),  # a name may be any bytes
        source_sha256=source_sha256,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )


def seconds_by_state(features: Features) -> dict[str, float]:
    """How long the face was in each state, by the state's name in lower case."""
    frames = np.bincount(features.state, minlength=len(FaceState)).tolist()
    return {
        state.name.lower(): round(frames[state] / AU_V1.rate_hz, 2) for state in FaceState if frames[state]
    }


def new_session_folder(sessions: Path, session_id: str) -> Path:
    """Where a new session will lie.

    Raises
    ------
    SessionError
        There is a session of this id already.
    """
    folder = sessions / session_id
    if folder.exists():
        raise SessionError(f"this video is already here as {folder}. Remove that folder to ingest it again.")
    return folder


def write_session(sessions: Path, session: Session, extra_files: dict[str, bytes] | None = None) -> Path:
    """Write a session folder under ``sessions``, whole or not at all; its path.

    Raises
    ------
    SessionError
        There is a session of this id already.
    StorageError
        It cannot be written.
    """
    folder = new_session_folder(sessions, session.record.id)
    features = session.features
    table: dict[str, NDArray[Any]] = {name: getattr(features, name) for name in _FRAME_TYPES}
    table |= {name: features.values[:, column] for column, name in enumerate(AU_V1.channels)}
    with new_folder(folder) as draft:
        _write_table(draft / FEATURES_FILE, table)
        if session.ratings is not None:
            rated = {name: session.ratings[:, column] for column, name in enumerate(TARGETS)}
            _write_table(draft / RATINGS_FILE, {"time_s": features.time_s, **rated})
        for name, content in (extra_files or {}).items():
            write_atomic(draft / name, content)
        write_atomic(draft / SESSION_FILE, session.record.model_dump_json(indent=2).encode() + b"\n")
    return folder


def read_session(folder: Path) -> Session:
    """A session from its folder, checked.

    Raises
    ------
    SessionError
        A file is missing or damaged, or the session is of another schema or version.
    """
    record = read_record(folder)
    columns = _read_table(folder / FEATURES_FILE, _FEATURES_TYPES, record.frames)
    values = np.stack([columns[name] for name in AU_V1.channels], axis=1)
    features = Features(values=values, **{name: columns[name] for name in _FRAME_TYPES})
    if problem := _contradiction(features, record):
        raise SessionError(f"session {folder}: {problem}. {_AGAIN}")
    ratings = None
    if record.rated:
        rated = _read_table(folder / RATINGS_FILE, _RATINGS_TYPES, record.frames)
        ratings = np.stack([rated[name] for name in TARGETS], axis=1)
        if not (np.isnan(ratings) | (np.abs(ratings) <= 1.0)).all():
            raise SessionError(f"session {folder}: ratings outside −1 to 1. {_AGAIN}")
    return Session(record, features, ratings)


def read_record(folder: Path) -> SessionRecord:
    """What a session says of itself, checked; its tables have to be there and are not read.

    Raises
    ------
    SessionError
        It or a table is missing, it is damaged, or of another schema or version.
    """
    try:
        record = SessionRecord.model_validate_json(read_bounded(folder / SESSION_FILE, 1024 * 1024))
    except InputError as error:
        raise SessionError(
            f"{folder} is no usable session ({error}). If it lies under a site's sessions, "
            "remove it and ingest its source again."
        ) from error
    except ValidationError as error:
        if any(each["loc"] == ("layout",) for each in error.errors(include_url=False)):
            raise SessionError(
                f"session {folder} was made by another version of Mien. Remove that folder and ingest its "
                "source again."
            ) from error
        problem = first_problem(error)
        raise SessionError(f"{folder} is no usable session ({SESSION_FILE}: {problem}). {_AGAIN}") from error
    if (record.schema_name, record.channels, record.rate_hz) != (AU_V1.name, AU_V1.channels, AU_V1.rate_hz):
        raise SessionError(
            f"session {folder} is of schema {record.schema_name!r}, this agent works with {AU_V1.name!r}. "
            f"{_AGAIN}"
        )
    for name in (FEATURES_FILE, RATINGS_FILE) if record.rated else (FEATURES_FILE,):
        if not is_there(folder / name):
            raise SessionError(f"{folder} is no usable session ({name} is missing). {_AGAIN}")
    return record


def _contradiction(features: Features, record: SessionRecord) -> str | None:
    """What cannot be in a session that :func:`write_session` wrote, in words; None where all fits."""
    known, state = np.isfinite(features.values), features.state
    if np.isinf(features.values).any():
        return "features that are infinite"
    if not np.allclose(features.time_s, np.arange(record.frames) / AU_V1.rate_hz, rtol=0, atol=1e-6):
        return "times that are not on the 25 Hz clock"
    if state.max() > max(FaceState) or features.face.min() < 0:
        return "a face state that does not exist"
    # A channel that its extractor never gave is no reason to call a frame invalid.
    needed = MODEL_CHANNELS & (known.any(axis=0) | (record.features_from == "mediapipe"))
    if not known[features.valid][:, needed].all():
        return "frames marked valid hold NaN"
    if features.valid.sum() != record.valid_frames:
        return f"{features.valid.sum()} valid frames and not {record.valid_frames}"
    units = np.array([name.startswith("AU") for name in AU_V1.channels])
    if known[np.isin(state, NOTHING_KNOWN)].any() or known[np.isin(state, POSE_KNOWN)][:, units].any():
        return "frames without a measured face hold numbers"
    return None


def session_folders(sessions: Path) -> Iterator[Path]:
    """Session folders under ``sessions`` in name order; drafts of running ingests are not among them."""
    if sessions.is_dir():
        yield from sorted(
            folder for folder in sessions.iterdir() if folder.is_dir() and folder.name[0] != "."
        )


def _write_table(path: Path, columns: dict[str, NDArray[np.generic]]) -> None:
    """In pieces, so that half an hour takes little more memory than a minute.

    Without dictionaries: of numbers that hardly repeat they are larger than the numbers, in memory and file.
    """
    content = pa.BufferOutputStream()
    rows = len(next(iter(columns.values())))
    pieces = (
        pa.table({name: column[start : start + _PIECE_ROWS] for name, column in columns.items()})
        for start in range(0, rows, _PIECE_ROWS)
    )
    first = next(pieces)
    checked = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
    with pq.ParquetWriter(content, first.schema, **checked) as writer:
        for piece in chain([first], pieces):
            writer.write_table(piece)
    write_atomic(path, memoryview(content.getvalue()))


def _read_table(path: Path, types: dict[str, str], frames: int) -> dict[str, NDArray[Any]]:
    """The columns of ``types`` by name; each has its type and ``frames`` numbers."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        if file.metadata.num_rows != frames:  # known from the footer, before anything large is read
            raise SessionError(f"{path} has {file.metadata.num_rows} frames, its session {frames}. {_AGAIN}")
        table = file.read(columns=list(types))
        for name, wanted in types.items():
            column = table.column(name)
            if str(column.type) != wanted or column.null_count:
                raise ValueError(f"column {name} is not of {wanted}")
        return {name: table.column(name).to_numpy() for name in types}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise SessionError(f"{path} cannot be read: {_first_line(error)}. {_AGAIN}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
