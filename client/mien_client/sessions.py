"""Sessions on a site: one folder each, with features, validity and ratings; never an image.

Enters: :class:`~mien_client.features.Features` and ratings on the same clock. Stays here:
``sessions/<id>/{session.json, features.parquet, ratings.parquet}``. Nothing of it leaves the site.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import InputError, SessionError
from mien_common.files import new_folder, read_bounded, write_atomic
from mien_common.schema import AU_V1, LONGEST_FRAMES, TARGETS
from mien_common.versions import versions

from .features import Features

SESSION_FILE: Final = "session.json"
FEATURES_FILE: Final = "features.parquet"
RATINGS_FILE: Final = "ratings.parquet"

_FEATURES_TYPES: Final = {"time_s": "double", "valid": "bool"} | dict.fromkeys(AU_V1.channels, "float")
_RATINGS_TYPES: Final = {"time_s": "double"} | dict.fromkeys(TARGETS, "float")
"""Columns and their types, in Arrow's words."""


class SessionRecord(BaseModel):
    """What ``session.json`` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")
    schema_name: str
    channels: tuple[str, ...]
    rate_hz: float
    frames: int = Field(gt=0, le=LONGEST_FRAMES)
    valid_frames: int = Field(ge=0)
    rated: bool
    held_out: bool
    """Never trained on: kept to test the global model."""
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
    *, session_id: str, features: Features, rated: bool, held_out: bool, source: Path, source_sha256: str
) -> SessionRecord:
    """The record of a session about to be written."""
    return SessionRecord(
        id=session_id,
        schema_name=AU_V1.name,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        frames=len(features.valid),
        valid_frames=int(features.valid.sum()),
        rated=rated,
        held_out=held_out,
        source_name=os.fsencode(source.name).decode(errors="replace"),  # a name may be any bytes
        source_sha256=source_sha256,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )


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
    table = {"time_s": features.time_s, "valid": features.valid}
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
        A file is missing or damaged, or the session is of another schema.
    """
    try:
        record = SessionRecord.model_validate_json(read_bounded(folder / SESSION_FILE, 1024 * 1024))
    except (InputError, ValidationError) as error:
        raise SessionError(
            f"{folder} is no usable session ({SESSION_FILE}: {_first_line(error)}). Ingest the video again."
        ) from error
    if (record.schema_name, record.channels, record.rate_hz) != (AU_V1.name, AU_V1.channels, AU_V1.rate_hz):
        raise SessionError(
            f"session {folder} is of schema {record.schema_name!r}, this agent works with {AU_V1.name!r}. "
            "Ingest the video again with this version."
        )
    columns = _read_table(folder / FEATURES_FILE, _FEATURES_TYPES, record.frames)
    valid = columns["valid"]
    values = np.stack([columns[name] for name in AU_V1.channels], axis=1)
    if not np.isfinite(values[valid]).all():
        raise SessionError(f"session {folder}: frames marked valid hold NaN. Ingest the video again.")
    ratings = None
    if record.rated:
        rated = _read_table(folder / RATINGS_FILE, _RATINGS_TYPES, record.frames)
        ratings = np.stack([rated[name] for name in TARGETS], axis=1)
        if not (np.isnan(ratings) | (np.abs(ratings) <= 1.0)).all():
            raise SessionError(f"session {folder}: ratings outside −1 to 1. Ingest the video again.")
    return Session(record, Features(columns["time_s"], values, valid), ratings)


def session_folders(sessions: Path) -> Iterator[Path]:
    """Session folders under ``sessions`` in name order; drafts of running ingests are not among them."""
    if sessions.is_dir():
        yield from sorted(
            folder for folder in sessions.iterdir() if folder.is_dir() and folder.name[0] != "."
        )


def _write_table(path: Path, columns: dict[str, NDArray[np.generic]]) -> None:
    content = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), content, compression="zstd", write_page_checksum=True)
    write_atomic(path, content.getvalue().to_pybytes())


def _read_table(path: Path, types: dict[str, str], frames: int) -> dict[str, NDArray[Any]]:
    """The columns of ``types`` by name; each has its type and ``frames`` numbers."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        if file.metadata.num_rows != frames:  # known from the footer, before anything large is read
            raise SessionError(
                f"{path} has {file.metadata.num_rows} frames, its session {frames}. Ingest the video again."
            )
        table = file.read(columns=list(types))
        for name, wanted in types.items():
            column = table.column(name)
            if str(column.type) != wanted or column.null_count:
                raise ValueError(f"column {name} is not of {wanted}")
        return {name: table.column(name).to_numpy() for name in types}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise SessionError(f"{path} cannot be read: {_first_line(error)}. Ingest the video again.") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
