"""TensorBoard's event files: one for every run, ``runs/RUN/tensorboard/``, a point for every round.

Enters: rounds, from the recorder, as they are done. Leaves: a file that TensorBoard reads while it grows. The
run's journal is the truth, and the file is a function of it: whatever a crash, a full disk or a curious hand
did to the file, the next round finds it, adds what is missing, or writes it anew.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mien_common.errors import InputError, StorageError
from mien_common.files import make_folder, storage_errors, write_atomic
from mien_server.exports.event_file import header, round_record
from mien_server.exports.series import RoundValues, round_values
from mien_server.folder import ServerFolder
from mien_server.history.journal_rows import parsed
from mien_server.history.journals import Position, read_lines
from mien_server.runs.journal import JOURNAL_FILE, Event

FILE: Final = Path("tensorboard") / "events.out.tfevents.mien"
"""Of the folder of a run. TensorBoard knows an event file by the ``tfevents`` in its name."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""A file takes no more than this: 100,000 rounds of a few sites."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Written:
    """What a run's file holds."""

    bytes: int
    last_round: int
    is_full: bool


class TensorBoard:
    """The follower that keeps the files up to date."""

    name = "tensorboard"

    def __init__(self) -> None:
        self._written: dict[str, _Written] = {}

    def take(self, folder: ServerFolder, run: str, event: Event) -> None:
        """Add a round to its run's file; one that is there already is not added again.

        Raises
        ------
        StorageError
            The file cannot be written: given the same round again, it goes on where it can.
        """
        if event["event"] != "round":
            return
        path = folder.runs / run
        written = self._written.pop(run, None)
        if written is None or _size(path / FILE) != written.bytes:
            self._written[run] = bring_up_to_date(path)  # with this round, which is in the journal
        else:
            self._written[run] = _with_round(path, written, event)

    def close(self) -> None:
        """Nothing is left open between two rounds."""


def bring_up_to_date(path: Path) -> _Written:
    """Make the event file of the run in ``path`` hold every round of its journal, each once.

    Raises
    ------
    StorageError
        It cannot be written, or the journal cannot be read.
    """
    content, written = bytearray(), _Written(0, 0, False)
    for found in _rounds(path):
        record = round_record(found) if content else header(found.time_s) + round_record(found)
        if len(content) + len(record) > MOST_BYTES:
            written = replace(written, is_full=True)
            break
        content += record
        written = _Written(len(content), found.round, False)
    file = path / FILE
    with storage_errors(file):
        for draft in file.parent.glob(f".{FILE.name}.*"):  # TensorBoard would read it, too
            draft.unlink(missing_ok=True)
    there = _read(file)
    if there and content.startswith(there):
        _append(file, content[len(there) :])
    elif content:
        make_folder(file.parent)
        write_atomic(file, bytes(content))
    return written


def _with_round(path: Path, written: _Written, event: Event) -> _Written:
    try:
        found = round_values(path.name, event)
    except InputError:
        return written  # the history says so, once
    if found is None or found.round <= written.last_round or written.is_full:
        return written
    record = round_record(found)
    if written.bytes + len(record) > MOST_BYTES:
        log.warning("event=tensorboard_file_full run=%s bytes=%d", path.name, written.bytes)
        return replace(written, is_full=True)
    _append(path / FILE, record)
    return _Written(written.bytes + len(record), found.round, False)


def _rounds(path: Path) -> Iterator[RoundValues]:
    """Every round of the journal, in order; a line that cannot be read is left out."""
    position, last, is_more = Position(), 0, True
    while is_more:
        reading = read_lines(path / JOURNAL_FILE, position)
        position, is_more = reading.position, reading.is_more
        for line in reading.lines:
            try:
                found = round_values(path.name, parsed(line.content))
            except InputError:
                continue  # the history says so, once
            if found is not None and found.round > last:
                last = found.round
                yield found


def _append(file: Path, content: bytes | bytearray) -> None:
    with storage_errors(file), file.open("ab") as opened:
        opened.write(content)


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
