"""The server's own journal: what its operator did, and who came to its doors.

Enters: one event at a time, from any process of the server. Leaves: ``DIR/state/events.jsonl``, read by
the history; :mod:`mien_server.history.kinds` says which values each kind has. Names of sites, versions and
numbers only; never a secret, an address, a body, or a word that a stranger chose.
"""

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any, Final

from mien_common.errors import StorageError
from mien_common.files import make_folder, storage_errors
from mien_server.folder import ServerFolder
from mien_server.runs.journal import new_event

EVENTS_FILE: Final = "events.jsonl"
STRANGERS_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Beyond it nothing is written any more that strangers cause; at a line a minute they need a year for it."""
CAUSED_BY_STRANGERS: Final = frozenset({"refused"})

log = logging.getLogger(__name__)


def events_file(folder: ServerFolder) -> Path:
    """Where the journal is; absent before the first event."""
    return folder.state / EVENTS_FILE


def record_event(folder: ServerFolder, event: str, **values: Any) -> bool:
    """Append one event, which has happened already; whether it is on disk now, whole.

    One that cannot be written is a warning in the log: what it tells of is done, and stays so. Half a line
    that a process left behind when it died is removed.
    """
    line = json.dumps(new_event(event, **values), allow_nan=False).encode() + b"\n"
    try:
        make_folder(folder.state, mode=0o700)
        with storage_errors(events_file(folder)):
            _append(events_file(folder), line, event in CAUSED_BY_STRANGERS)
    except StorageError as error:
        log.warning("event=not_recorded kind=%s reason=%r", event, str(error))
        return False
    return True


def _append(file: Path, line: bytes, by_strangers: bool) -> None:
    journal = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(journal, fcntl.LOCK_EX)
        _cut_half_a_line(journal)
        before = os.fstat(journal).st_size
        if by_strangers and before > STRANGERS_LIMIT_BYTES:
            raise OSError(27, f"it has more than {STRANGERS_LIMIT_BYTES >> 20} MiB")
        try:
            if os.write(journal, line) != len(line):
                raise OSError(28, os.strerror(28))  # a disk that is nearly full takes a part
            os.fsync(journal)
        except OSError:
            os.ftruncate(journal, before)
            raise
    finally:
        os.close(journal)


def _cut_half_a_line(journal: int) -> None:
    size = os.fstat(journal).st_size
    if size and os.pread(journal, 1, size - 1) != b"\n":
        tail = os.pread(journal, min(size, 64 * 1024), max(size - 64 * 1024, 0))
        os.ftruncate(journal, size - len(tail) + tail.rfind(b"\n") + 1)
