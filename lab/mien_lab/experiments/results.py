"""What runs gave, kept on disk: one folder per run, whole or absent.

Enters: an :class:`Outcome`. Leaves: ``outcome.json`` and ``traces.npz`` in its folder, and the same
:class:`Outcome` again when it is read. Nothing that is read is run: the arrays are loaded without pickle,
and what is larger than any run's, damaged or of another form is one sentence with the file's name.
"""

import hashlib
import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import InputError
from mien_common.files import new_folder, read_bounded, storage_errors

from .outcome import Job, Outcome, RoundPoint, Scored
from .report import Report, write_report

__all__ = ["Report", "load_outcome", "save_outcome", "write_report"]

OUTCOME_FILE: Final = "outcome.json"
TRACES_FILE: Final = "traces.npz"

OUTCOME_LIMIT_BYTES: Final = 16 * 1024**2
"""10,000 rounds and 10,000 recordings need less."""
TRACES_LIMIT_BYTES: Final = 1024**3
"""Of the arrays in memory, compressed or not: a hundred hours at 25 Hz need a fifth of it."""

_Traces = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]
_PARTS: Final = {"prediction": np.float32, "gold": np.float32, "counts": np.bool_}


class _Part(BaseModel):
    # NaN and infinity as strings: a diverged loss is read back as what it was, and the file is strict JSON.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class _Job(_Part):
    model: str
    method: str
    seed: int = Field(ge=0)
    fold: str


class _Scored(_Part):
    recording: str
    participant: str
    site: str | None
    why_undefined: str | None


class _Round(_Part):
    round: int = Field(ge=0)
    loss: float
    validation: tuple[float, float]
    seconds: float


class _Document(_Part):
    """``outcome.json``: all but the traces."""

    format: Literal["mien-outcome-1"] = "mien-outcome-1"
    job: _Job
    scored: Annotated[tuple[_Scored, ...], Field(max_length=100_000)]
    rounds: Annotated[tuple[_Round, ...], Field(max_length=1_000_000)]
    chosen_round: int = Field(ge=0)
    lag_s: dict[str, tuple[float, float]]
    fitted: str
    frames: int = Field(ge=0)
    seconds: float
    device: str
    rule: str
    points_hz: float | None = Field(gt=0)
    notes: tuple[str, ...] = ()
    traces_sha256: str


def save_outcome(folder: Path, outcome: Outcome) -> None:
    """Keep ``outcome`` in ``folder``; one that is there already is replaced.

    Raises
    ------
    StorageError
        The disk is full or read-only, or the folder is not ours.
    """
    traces = _traces_of(outcome)
    document = _Document(
        job=_Job(**vars(outcome.job)),
        scored=tuple(
            _Scored(
                recording=one.recording,
                participant=one.participant,
                site=one.site,
                why_undefined=one.why_undefined,
            )
            for one in outcome.scored
        ),
        rounds=tuple(_Round(**vars(point)) for point in outcome.rounds),
        chosen_round=outcome.chosen_round,
        lag_s=outcome.lag_s,
        fitted=outcome.fitted,
        frames=outcome.frames,
        seconds=outcome.seconds,
        device=outcome.device,
        rule=outcome.rule,
        points_hz=outcome.points_hz,
        notes=outcome.notes,
        traces_sha256=hashlib.sha256(traces).hexdigest(),
    )
    _set_aside(folder)
    with new_folder(folder) as draft:
        (draft / TRACES_FILE).write_bytes(traces)
        (draft / OUTCOME_FILE).write_bytes(document.model_dump_json(indent=1).encode() + b"\n")


def load_outcome(folder: Path) -> Outcome:
    """What :func:`save_outcome` kept in ``folder``.

    Raises
    ------
    InputError
        A file is missing, damaged, too large or of another form.
    """
    file, traces_file = folder / OUTCOME_FILE, folder / TRACES_FILE
    try:
        document = _Document.model_validate_json(read_bounded(file, OUTCOME_LIMIT_BYTES))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise _damaged(file, f"{where}: {problem['msg']}") from error
    content = read_bounded(traces_file, TRACES_LIMIT_BYTES)
    if hashlib.sha256(content).hexdigest() != document.traces_sha256:
        raise _damaged(traces_file, f"it is not the one that {OUTCOME_FILE} was written with")
    traces = _read_traces(traces_file, content, len(document.scored))
    return Outcome(
        job=Job(**document.job.model_dump()),
        scored=tuple(
            Scored(
                recording=one.recording,
                participant=one.participant,
                site=one.site,
                prediction=prediction,
                gold=gold,
                counts=counts,
                why_undefined=one.why_undefined,
            )
            for one, (prediction, gold, counts) in zip(document.scored, traces, strict=True)
        ),
        rounds=tuple(RoundPoint(**point.model_dump()) for point in document.rounds),
        chosen_round=document.chosen_round,
        lag_s=document.lag_s,
        fitted=document.fitted,
        frames=document.frames,
        seconds=document.seconds,
        device=document.device,
        rule=document.rule,
        points_hz=document.points_hz,
        notes=document.notes,
    )


def _set_aside(folder: Path) -> None:
    """Move what is at ``folder`` out of the way by one rename, then remove it."""
    if not folder.exists():
        return
    with storage_errors(folder):
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        folder.rename(aside / folder.name)
    shutil.rmtree(aside, ignore_errors=True)


def _traces_of(outcome: Outcome) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    for index, one in enumerate(outcome.scored):
        for part, kind in _PARTS.items():
            arrays[f"{part}_{index}"] = np.ascontiguousarray(getattr(one, part), kind)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _read_traces(file: Path, content: bytes, recordings: int) -> list[_Traces]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > TRACES_LIMIT_BYTES:
                raise _damaged(file, f"its arrays would take {size} bytes")
            arrays = {}
            for name in archive.namelist():  # by hand: what np.load takes depends on what it finds
                with archive.open(name) as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
                arrays[name.removesuffix(".npy")] = array
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(file, str(error) or type(error).__name__) from error
    return [_traces_at(file, arrays, index) for index in range(recordings)]


def _traces_at(file: Path, arrays: Mapping[str, NDArray[np.generic]], index: int) -> _Traces:
    for part, kind in _PARTS.items():
        name = f"{part}_{index}"
        if name not in arrays:
            raise _damaged(file, f"it has no {name}")
        if arrays[name].dtype != kind:
            raise _damaged(file, f"{name} is of type {arrays[name].dtype}, not {np.dtype(kind)}")
    prediction, gold, counts = (arrays[f"{part}_{index}"] for part in _PARTS)
    if counts.ndim != 1 or not prediction.shape == gold.shape == (len(counts), 2):
        raise _damaged(file, f"the arrays of recording {index} do not fit together")
    return prediction.astype(np.float32), gold.astype(np.float32), counts.astype(np.bool_)


def _damaged(file: Path, why: str) -> InputError:
    return InputError(f"{file} is damaged: {why}. Remove its folder, and the run is made again.")
