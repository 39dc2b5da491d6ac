"""The journal of a run: one JSON line per event, on disk before the run goes on.

Written by the ServerApp, followed by ``mien server run``. Every line has ``event`` and ``time``; the
events are ``started`` or ``resumed``, ``waiting``, ``round_started``, ``round``, ``round_failed``, and last
``finished``, ``failed``, ``stopped`` or, written by ``mien server up`` in its place, ``died``.
"""

import datetime as dt
import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mien_common.errors import FederationError, InputError, StorageError
from mien_common.files import storage_errors

JOURNAL_FILE: Final = "rounds.jsonl"
LAST_EVENTS: Final = frozenset({"finished", "failed", "stopped", "died"})
LOCK_PATIENCE_S: Final = 5.0
"""A reader that asks whether somebody writes holds the lock for a moment, too."""

Event = dict[str, Any]


class Journal:
    """Appends events to ``rounds.jsonl`` of the run in ``path``.

    As long as it lives it holds a lock on the file, by which a reader knows that somebody writes. The
    kernel drops the lock when the process dies, however it dies. Half a line that a writer left when it
    died is removed.

    Raises
    ------
    FederationError
        Another process writes it.
    StorageError
        It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.run = path
        self._path = path / JOURNAL_FILE
        with storage_errors(self._path):
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock()
            with storage_errors(self._path):
                content = self._path.read_bytes()
                os.ftruncate(self._file, content.rfind(b"\n") + 1)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Say that no more events will come."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write(self, event: str, **values: Any) -> None:
        """Append one event; on return it is on disk.

        NaN becomes ``null``, which every JSON reader understands.
        """
        self.add(new_event(event, **values))

    def add(self, event: Event) -> None:
        """Append an event made by :func:`new_event`; it is written whole or not at all."""
        line = json.dumps(event, allow_nan=False).encode() + b"\n"
        before = os.fstat(self._file).st_size
        with storage_errors(self._path):
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError(28, os.strerror(28))  # a disk that is nearly full takes a part
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def _lock(self) -> None:
        end = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise FederationError(
                        f"another process conducts the run {self.run.name}. Look: mien server show "
                        f"{self.run.name} --follow"
                    ) from error
                time.sleep(0.01)
            else:
                return


def new_event(event: str, **values: Any) -> Event:
    """An event that happens now, in plain JSON."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return {"event": event, "time": now, **{name: _plain(value) for name, value in values.items()}}


class JournalReader:
    """Reads a journal while it is being written, from byte ``position`` on."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self._file = path / JOURNAL_FILE
        self._position = position

    def new(self) -> Iterator[Event]:
        """Every whole event written since the last call.

        Raises
        ------
        StorageError
            It cannot be read.
        InputError
            A line of it is no event.
        """
        try:
            with self._file.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"cannot read {self._file}: {error.strerror or error}") from error
        whole = content[: content.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise InputError(
                    f"{self._file} is damaged: {line[:60].decode(errors='replace')!r} is no event of a run. "
                    "Take the line out, or put the file back from a copy."
                )
            yield event

    @property
    def position(self) -> int:
        """Where the next event to be read begins, bytes."""
        return self._position

    def is_written(self) -> bool:
        """Whether somebody writes here; not yet, for a moment, in one that was just made."""
        try:
            with self._file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
