"""The folder of a comparison: its runs, what they were made from, and where.

Enters: a configuration and its corpus. Leaves: the runs that are there already and were made from just these,
so that a stopped comparison goes on where it was. One process at a time.

::

    OUT/comparison.json   configuration, data, versions, machine, what failed
    OUT/config.toml       the configuration, to run it again
    OUT/runs/…            a folder per run
"""

import datetime as dt
import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from mien_common.errors import InputError, SettingsError
from mien_common.files import (
    is_there,
    make_folder,
    read_bounded,
    remove_old_drafts,
    storage_errors,
    write_atomic,
)
from mien_common.versions import versions
from mien_lab.corpora.corpus import Corpus

from .config import Config
from .machine import machine_facts
from .outcome import Job, Outcome
from .results import load_outcome, save_outcome

RECORD_FILE: Final = "comparison.json"
CONFIG_FILE: Final = "config.toml"
RUNS: Final = "runs"
WORKERS_LOG: Final = "workers.log"
_LOCK_FILE: Final = ".lock"
_LIMIT_BYTES: Final = 16 * 1024**2

Values = dict[str, Any]


class Session(BaseModel):
    """One time that ``mien lab compare`` worked here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    started: str
    versions: dict[str, str]
    machine: dict[str, str]


class Record(BaseModel):
    """``comparison.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = "mien-comparison-1"
    note: str
    """The corpus's; such as that the data are synthetic."""
    config: Values
    """As it was given last. Its models and methods are compared by name, with all that ever were here."""
    models: dict[str, Values]
    methods: dict[str, Values]
    data_sha256: str
    seeds: tuple[int, ...]
    sessions: tuple[Session, ...]
    failed: dict[str, str] = {}
    """Why, by run."""
    files: tuple[str, ...] = ()
    """What the report consists of."""


class ComparisonFolder:
    """A folder that is ours; see :func:`open_folder`."""

    def __init__(self, out: Path, record: Record) -> None:
        self.out = out
        self._record = record

    @property
    def workers_log(self) -> Path:
        """Where workers say what no person needs to read."""
        return self.out / WORKERS_LOG

    def run_folder(self, job: Job) -> Path:
        """The folder of a run."""
        return self.out / RUNS / folder_name(job)

    def finished(self, jobs: Sequence[Job]) -> tuple[dict[Job, Outcome], list[str]]:
        """Outcomes of the jobs that are done, and a sentence for each whose files are damaged."""
        outcomes: dict[Job, Outcome] = {}
        damaged: list[str] = []
        for job in jobs:
            folder = self.run_folder(job)
            if not is_there(folder):
                continue
            try:
                outcome = load_outcome(folder)
            except InputError as error:
                damaged.append(str(error))
                continue
            if outcome.job == job:
                outcomes[job] = outcome
        return outcomes, damaged

    def save(self, outcome: Outcome) -> None:
        """Keep a run.

        Raises
        ------
        StorageError
            The disk is full, or the folder is not ours.
        """
        save_outcome(self.run_folder(outcome.job), outcome)

    def close(self, failed: Mapping[Job, str], files: Sequence[Path]) -> None:
        """Note what failed, and which files the report is."""
        self._record = self._record.model_copy(
            update={
                "failed": {job.id: reason for job, reason in failed.items()},
                "files": tuple(
                    str(file.relative_to(self.out)) for file in files if file.is_relative_to(self.out)
                ),
            }
        )
        _write(self.out, self._record)


def folder_name(job: Job) -> str:
    """The name of a run's folder: the job's, without what a file name cannot have."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", job.id).lstrip(".")


@contextmanager
def open_folder(out: Path, config: Config, corpus: Corpus, *, fresh: bool) -> Iterator[ComparisonFolder]:
    """Make ``out``, or go on in it.

    Parameters
    ----------
    fresh : remove the comparison that is there, whatever it is.

    Raises
    ------
    SettingsError
        There is a comparison that was configured otherwise or made from other data, or one in work.
    StorageError
        The folder cannot be written.
    """
    make_folder(out)
    with _lock(out):
        old = None if fresh else _read(out)
        if fresh:
            _remove(out)
        record = _record(config, corpus, old, out)
        remove_old_drafts(make_folder(out / RUNS), older_than_s=0.0)
        _write(out, record)
        content = tomli_w.dumps(config.model_dump(mode="json", exclude_unset=True))
        write_atomic(out / CONFIG_FILE, content.encode())
        yield ComparisonFolder(out, record)


def fingerprint(corpus: Corpus) -> str:
    """SHA-256 over everything in ``corpus`` but its name, and where its files lie."""
    sha = hashlib.sha256()

    def take(*values: object) -> None:
        sha.update(repr(values).encode())

    take(corpus.channels, corpus.rate_hz, sorted(corpus.partitions.items()))
    for recording in corpus.recordings:
        take(recording.name, recording.participant, recording.raters, recording.gold is None)
        gold = recording.gold if recording.gold is not None else np.empty(0, np.float32)
        for array in (recording.features, recording.valid, recording.ratings, gold):
            take(array.shape, array.dtype.str)
            sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _record(config: Config, corpus: Corpus, old: Record | None, out: Path) -> Record:
    values = config.model_dump(mode="json")
    record = Record(
        note=corpus.note,
        config=values,
        models={model["name"]: model for model in values["models"]},
        methods={method["name"]: method for method in values["methods"]},
        data_sha256=fingerprint(corpus),
        seeds=config.seeds,
        sessions=(_session(),),
    )
    if old is None:
        return record
    found = _differences(old, record)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise SettingsError(
            f"{out} holds a comparison that was made otherwise: {'; '.join(found[:3])}{more}. "
            "Give --fresh to remove it and start again, or another --out."
        )
    return record.model_copy(
        update={
            "models": old.models | record.models,
            "methods": old.methods | record.methods,
            "sessions": (*old.sessions, *record.sessions),
            "files": old.files,
        }
    )


def _differences(old: Record, new: Record) -> list[str]:
    """What makes the runs of ``old`` others than those of ``new``, in words.

    Models, methods and seeds may come and go, for each run is of one of each; what bears an old name must be
    as it was.
    """
    found = []
    for key in sorted(old.config.keys() | new.config.keys()):
        if key not in ("name", "models", "methods", "seeds"):
            found += _differing(key, old.config.get(key), new.config.get(key))
    for kind in ("models", "methods"):
        before, now = getattr(old, kind), getattr(new, kind)
        for name in now:
            if name in before:
                found += _differing(f"{kind} {name!r}", before[name], now[name])
    if not found and old.data_sha256 != new.data_sha256:
        found.append("its data were others, though the configuration is the same")
    return found


def _differing(key: str, before: object, now: object) -> list[str]:
    if key == "corpus.path" or before == now:  # data may move; their content is compared
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for part in sorted(before.keys() | now.keys())
            for line in _differing(f"{key}.{part}", before.get(part), now.get(part))
        ]
    return [f"{key} was {_said(before)} and is now {_said(now)}"]


def _said(value: object) -> str:
    return "not given" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


def _session() -> Session:
    return Session(
        started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        versions=versions(),
        machine=machine_facts(),
    )


def _read(out: Path) -> Record | None:
    file = out / RECORD_FILE
    if not is_there(file):
        return None
    try:
        return Record.model_validate_json(read_bounded(file, _LIMIT_BYTES))
    except ValidationError as error:
        raise InputError(
            f"{file} is damaged, or of another version of Mien. "
            "Give --fresh to start again, or another --out."
        ) from error


def _write(out: Path, record: Record) -> None:
    write_atomic(out / RECORD_FILE, record.model_dump_json(indent=1).encode() + b"\n")


def _remove(out: Path) -> None:
    """Remove what we made here, and nothing else: a folder without our record may hold somebody's runs."""
    if not is_there(out / RECORD_FILE):
        return
    try:
        old = _read(out)
    except InputError:
        old = None
    with storage_errors(out):
        shutil.rmtree(out / RUNS, ignore_errors=True)
        for name in (*(old.files if old else ()), RECORD_FILE, CONFIG_FILE, WORKERS_LOG):
            file = out / name
            if file.resolve().is_relative_to(out.resolve()):
                file.unlink(missing_ok=True)


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """The kernel drops it when the process dies, however it dies."""
    file = out / _LOCK_FILE
    with storage_errors(file), file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another `mien lab compare` is working in {out}. Wait for its end, or give another --out."
            ) from None
        yield
