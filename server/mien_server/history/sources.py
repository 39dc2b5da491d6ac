"""Journals taken up exactly once: what a line becomes and how far was read are one transaction.

Enters: a journal's name and file, and what to do with its lines. Leaves: rows, and the position in
``sources``. A position that is not the one we left makes the transaction fail: of two recorders neither
counts twice.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError

from mien_common.errors import StorageError
from mien_server.history.journals import Line, Position, Reading, read_lines
from mien_server.history.tables import SourceRow

Take = Callable[[Connection, Sequence[Line], bool], Callable[[], None]]
"""Writes the rows of some lines, the first of a file that is read anew or not; what it returns is called once
they are in the database for good."""

log = logging.getLogger(__name__)


class Sources:
    """How far each journal was read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.begin() as connection:
            self._positions = {
                row.name: Position(row.bytes, row.head, row.tail)
                for row in connection.execute(select(SourceRow.__table__))
            }

    def position(self, name: str) -> Position:
        """How far the journal ``name`` was read."""
        return self._positions.get(name, Position())

    def move(self, name: str, position: Position) -> None:
        """Keep how far it was read by somebody who writes no rows."""
        with self._engine.begin() as connection:
            self._move(connection, name, position)
        self._positions[name] = position

    def read(self, name: str, path: Path, take: Take) -> None:
        """Hand everything new in ``path`` to ``take``, in order, a transaction a chunk.

        A line that the database refuses is handed over again, without its content.

        Raises
        ------
        InputError
            It cannot be read.
        StorageError
            Another process reads it into this database, too.
        """
        while (reading := read_lines(path, self.position(name))).lines or reading.is_anew:
            try:
                self._commit(name, reading, take)
            except (DataError, IntegrityError):
                self._one_by_one(name, path, reading.position.bytes, take)
            if not reading.is_more:
                return

    def _one_by_one(self, name: str, path: Path, end: int, take: Take) -> None:
        """The same up to the byte ``end``, so that no line holds up the others."""
        while (reading := read_lines(path, self.position(name), one=True)).lines or reading.is_anew:
            try:
                self._commit(name, reading, take)
            except (DataError, IntegrityError) as error:
                log.warning("event=line_refused journal=%s reason=%s", name, str(error.orig).split("\n")[0])
                empty = tuple(replace(line, content=b"") for line in reading.lines)
                self._commit(name, replace(reading, lines=empty), take)
            if reading.position.bytes >= end:
                return

    def _commit(self, name: str, reading: Reading, take: Take) -> None:
        with self._engine.begin() as connection:
            keep = take(connection, reading.lines, reading.is_anew)
            self._move(connection, name, reading.position)
        self._positions[name] = reading.position
        keep()

    def _move(self, connection: Connection, name: str, position: Position) -> None:
        before = self._positions.get(name)
        values = {"bytes": position.bytes, "head": position.head, "tail": position.tail}
        if before is None:
            taken = connection.execute(select(SourceRow.name).where(SourceRow.name == name)).first()
            is_ours = taken is None
            if is_ours:
                connection.execute(insert(SourceRow), {"name": name, **values})
        else:
            unmoved = (SourceRow.name == name, SourceRow.bytes == before.bytes, SourceRow.tail == before.tail)
            is_ours = connection.execute(update(SourceRow).where(*unmoved).values(**values)).rowcount == 1
        if not is_ours:
            raise StorageError(
                f"another process reads the journal {name} into the same database. Does a second server run "
                "on a copy of this folder?"
            )
