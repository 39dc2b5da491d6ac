"""The journal of a run: one JSON line per event, on disk before the run goes on.

Written by the ServerApp, followed by ``mien server run``. Every line has ``event`` and ``time``; the
events are ``started``, ``waiting``, ``round``, ``round_failed``, and last
``finished``, ``failed`` or ``stopped``.
"""

import datetime as dt
import fcntl
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mien_common.errors import StorageError
from mien_common.files import storage_errors

JOURNAL_FILE: Final = "rounds.jsonl"

Event = dict[str, Any]


class Journal:
    """Appends events to ``rounds.jsonl`` of the run in ``path``.

    As long as it lives it holds a lock on the file, by which a reader knows that somebody writes. The
    kernel drops the lock when the process dies, however it dies.
    """

    def __init__(self, path: Path) -> None:
        file = path / JOURNAL_FILE
        with storage_errors(file):
            self._file = file.open("a")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        """Say that no more events will come."""
        self._file.close()

    def write(self, event: str, **values: Any) -> None:
        """Append one event; on return it is on disk.

        NaN becomes ``null``, which every JSON reader understands.
        """
        line = json.dumps(
            {
                "event": event,
                "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
                **_plain(values),
            },
            allow_nan=False,
        )
        with storage_errors(Path(self._file.name)):
            self._file.write(line + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())


class JournalReader:
    """Reads a journal while it is being written."""

    def __init__(self, path: Path) -> None:
        self._file = path / JOURNAL_FILE
        self._position = 0

    def new(self) -> Iterator[Event]:
        """Every whole event written since the last call."""
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
            yield json.loads(line)

    def abandoned(self) -> bool:
        """Whether somebody wrote here and nobody does any more."""
        try:
            with self._file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                # An empty one was just made, and its writer does not hold the lock yet.
                return file.seek(0, os.SEEK_END) > 0
        except (FileNotFoundError, BlockingIOError):
            return False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
