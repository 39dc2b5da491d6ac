"""What is new in the server's folder goes into the history, a look at a time.

Enters: runs' journals and tickets, the server's own journal. Leaves: rows.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select

from mien_common.errors import InputError, MienError
from mien_server.folder import ServerFolder
from mien_server.history.journal_rows import parsed, server_event, unreadable
from mien_server.history.journals import Line, signature
from mien_server.history.run_intake import RunIntake, without_known
from mien_server.history.run_rows import new_run
from mien_server.history.sources import Sources
from mien_server.history.tables import EventRow, RunRow
from mien_server.runs.queue import read_tickets
from mien_server.runs.settings import SETTINGS_FILE, read_run
from mien_server.server_events import events_file

SLOW_LOOK: Final = dt.timedelta(seconds=10)
"""How often runs that are over are looked at, too."""
SERVER: Final = "server"

log = logging.getLogger(__name__)


class Intake:
    """Takes up what is new; a new one is made after every error, for what it remembers may be wrong then.

    Parameters
    ----------
    engine : of the writer, to a database that was prepared.
    """

    def __init__(self, engine: Engine, folder: ServerFolder) -> None:
        self._engine, self._folder = engine, folder
        self._sources = Sources(engine)
        self._left_out: set[str] = set()
        self._folder_changed: int | None = None
        self._server_files: tuple[int, int, int] | None = None
        self._next_slow_look = dt.datetime.min.replace(tzinfo=dt.UTC)
        with engine.begin() as connection:
            rows = connection.execute(select(RunRow.__table__).order_by(RunRow.number))
            self._runs = {row.run: self._run(dict(row._mapping)) for row in rows}

    def look(self, now: dt.datetime) -> None:
        """Take up everything that is new.

        Raises
        ------
        StorageError
            Another process takes up the same.
        sqlalchemy.exc.SQLAlchemyError
            The database is away.
        """
        with self._readable(SERVER):
            self._look_at_server(now)
        tickets = read_tickets(self._folder)
        is_slow = now >= self._next_slow_look
        if is_slow:
            self._next_slow_look = now + SLOW_LOOK
        changed = self._changed()
        if is_slow or changed != self._folder_changed:
            self._meet_new_runs()
            self._folder_changed = changed
        asked = {ticket.run: ticket for ticket in tickets}
        for name, run in self._runs.items():
            if is_slow or not run.is_over or name in asked:
                with self._readable(name):
                    run.look(asked.get(name), tickets, now)

    def _run(self, row: dict[str, object]) -> RunIntake:
        return RunIntake(self._engine, self._sources, self._folder, row)

    def _changed(self) -> int | None:
        """What differs when a run's folder came or went."""
        try:
            return self._folder.runs.stat().st_mtime_ns
        except OSError:
            return None

    def _meet_new_runs(self) -> None:
        names = {path.parent.name for path in self._folder.runs.glob(f"[!.]*/{SETTINGS_FILE}")}
        for name in sorted(names - set(self._runs), key=lambda name: (name[:10], len(name), name)):
            try:
                settings = read_run(self._folder.runs / name)
            except MienError as error:
                self._leave_out(name, error)
                continue
            with self._engine.begin() as connection:
                number = (connection.execute(select(func.max(RunRow.number))).scalar() or 0) + 1
                row = new_run(name, number, settings)
                connection.execute(insert(RunRow), row)
            self._runs[name] = self._run(row)

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        """A journal that cannot be read holds up no other; it is tried again at every look."""
        try:
            yield
        except (InputError, OSError) as error:
            self._leave_out(name, error)
        else:
            self._left_out.discard(name)

    def _leave_out(self, name: str, error: Exception) -> None:
        if name not in self._left_out:
            log.warning("event=left_out_of_history name=%s reason=%s", name, error)
        self._left_out.add(name)

    def _look_at_server(self, now: dt.datetime) -> None:
        path = events_file(self._folder)
        files = signature(path)
        if files != self._server_files:
            self._sources.read(SERVER, path, partial(self._take, now))
            self._server_files = files

    def _take(
        self, now: dt.datetime, connection: Connection, lines: Sequence[Line], is_anew: bool
    ) -> Callable[[], None]:
        events, damaged = [], []
        for line in lines:
            try:
                events.append(server_event(parsed(line.content), SERVER))
            except InputError as error:
                damaged.append((line.at, error))
                events.append(unreadable(SERVER, line.at, None, now, str(error)))
        if is_anew:
            events = without_known(connection, SERVER, events)
        if events:
            connection.execute(insert(EventRow), events)

        def keep() -> None:
            for at, error in damaged:
                log.warning("event=line_skipped journal=%s byte=%d reason=%s", SERVER, at, error)

        return keep
