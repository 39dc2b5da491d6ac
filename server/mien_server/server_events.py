"""The server's own journal: what its operator did, and who came to its doors.

Enters: one event at a time, from any process of the server. Leaves: ``DIR/state/events.jsonl``, read by
the history. Names of sites, versions and states only; never a secret, an address or a body.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Final

from mien_common.files import make_folder, storage_errors
from mien_server.folder import ServerFolder
from mien_server.runs.journal import new_event

EVENTS_FILE: Final = "events.jsonl"


def events_file(folder: ServerFolder) -> Path:
    """Where the journal is; absent before the first event."""
    return folder.state / EVENTS_FILE


def record_event(folder: ServerFolder, event: str, **values: Any) -> None:
    """Append one event; on return it is on disk, whole. Half a line that a process left behind is removed.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    make_folder(folder.state, mode=0o700)
    file = events_file(folder)
    line = json.dumps(new_event(event, **values), allow_nan=False).encode() + b"\n"
    with storage_errors(file):
        journal = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(journal, fcntl.LOCK_EX)
            _cut_half_a_line(journal)
            before = os.fstat(journal).st_size
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
