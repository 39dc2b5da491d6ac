"""One run into the history: its row, its rounds, its sites' parts in them, its events.

Enters: the run's folder, a look at a time. Leaves: rows. What was read once is remembered, so that a look at
a run in which nothing happened costs a look at its files.
"""

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update

from mien_common.errors import InputError
from mien_server.folder import ServerFolder, is_up
from mien_server.history.journal_rows import Row, Rows, RunSoFar, parsed, run_rows, unreadable
from mien_server.history.journals import Line, signature
from mien_server.history.run_rows import ENDED, gone, standing
from mien_server.history.site_rows import write_news
from mien_server.history.sources import Sources
from mien_server.history.tables import EventRow, RoundRow, RunRow, SiteRoundRow
from mien_server.history.texts import text_of_queue
from mien_server.runs.journal import JOURNAL_FILE, JournalReader
from mien_server.runs.queue import Ticket
from mien_server.runs.record import runs_before

QUEUE = "queue"

log = logging.getLogger(__name__)


class RunIntake:
    """What is new of one run.

    Parameters
    ----------
    row : the run's row as the database has it.
    """

    def __init__(self, engine: Engine, sources: Sources, folder: ServerFolder, row: dict[str, Any]) -> None:
        self._engine, self._sources, self._folder = engine, sources, folder
        self._row = row
        self._name = str(row["run"])
        self._source = f"runs/{self._name}"
        self._journal = folder.runs / self._name / JOURNAL_FILE
        self._so_far: RunSoFar | None = None
        self._files: tuple[int, int, int] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return self._row["state"] in ENDED

    def look(self, ticket: Ticket | None, tickets: list[Ticket], now: dt.datetime) -> None:
        """Take up what is new of it."""
        if not self._journal.parent.is_dir():
            if not self.is_over:
                self._change(gone(now))
            return
        if ticket is not None and ticket.asked != self._row["asked"]:
            self._queue(ticket, tickets)
        is_written = JournalReader(self._journal.parent).is_written()
        files = signature(self._journal)
        if files != self._files or self._so_far is None:
            if self._so_far is None:
                self._so_far = self._read_again()
            take = partial(self._take, now)
            self._sources.read(self._source, self._journal, take)
            self._files = files
        server_is_up = is_written or is_up(self._folder)
        self._change(standing(self._so_far, ticket, tickets, is_written, server_is_up))

    def _queue(self, ticket: Ticket, tickets: list[Ticket]) -> None:
        row = {
            **{"time": ticket.asked, "kind": "queued", "run": self._name, "round": None, "site": None},
            **{"text": text_of_queue(ticket.not_before, runs_before(ticket, tickets)), "source": QUEUE},
        }
        with self._engine.begin() as connection:
            connection.execute(insert(EventRow), row)
            self._update(connection, {"asked": ticket.asked})
        self._row["asked"] = ticket.asked

    def _change(self, values: dict[str, Any]) -> None:
        changed = {name: value for name, value in values.items() if self._row[name] != value}
        if changed:
            with self._engine.begin() as connection:
                self._update(connection, changed)
            self._row |= changed

    def _update(self, connection: Connection, values: dict[str, Any]) -> None:
        connection.execute(update(RunRow).where(RunRow.run == self._name).values(**values))

    def _read_again(self) -> RunSoFar:
        """The run as far as an earlier recorder read it."""
        so_far, position = RunSoFar(), self._sources.position(self._source).bytes
        if not position:
            return so_far
        at = 0
        try:
            with self._journal.open("rb") as file:
                content = file.read(position)
        except OSError:
            return so_far
        for line in content.split(b"\n")[:-1]:
            with suppress(InputError):
                _, so_far = self._rows_of(Line(at, line), so_far)
            at += len(line) + 1
        return so_far

    def _rows_of(self, line: Line, so_far: RunSoFar) -> tuple[Rows, RunSoFar]:
        event = parsed(line.content)
        rows = run_rows(self._name, event, so_far, self._source)
        return rows, so_far.after(event, line.at)

    def _take(
        self, now: dt.datetime, connection: Connection, lines: Sequence[Line], is_anew: bool
    ) -> Callable[[], None]:
        so_far = RunSoFar() if is_anew else self._so_far or RunSoFar()
        gathered: list[Rows] = []
        damaged: list[tuple[int, InputError]] = []
        for line in lines:
            try:
                rows, so_far = self._rows_of(line, so_far)
                gathered.append(rows)
            except InputError as error:
                damaged.append((line.at, error))
                row = unreadable(self._source, line.at, self._name, now, str(error))
                gathered.append(Rows(events=(row,)))
        self._write(connection, gathered, is_anew)

        def keep() -> None:
            self._so_far = so_far
            for at, error in damaged:
                log.warning("event=line_skipped journal=%s byte=%d reason=%s", self._journal, at, error)

        return keep

    def _write(self, connection: Connection, gathered: list[Rows], is_anew: bool) -> None:
        if is_anew:
            log.warning("event=journal_read_anew journal=%s reason=it_was_cut_or_replaced", self._journal)
            for table in (RoundRow, SiteRoundRow):
                connection.execute(delete(table).where(table.run == self._name))
        # The last of a round counts: a journal that was mended by hand may tell of one twice.
        rounds = {rows.round["round"]: rows for rows in gathered if rows.round is not None}
        if rounds:
            for table in (RoundRow, SiteRoundRow):
                connection.execute(delete(table).where(table.run == self._name, table.round.in_(rounds)))
            connection.execute(insert(RoundRow), [rows.round for rows in rounds.values() if rows.round])
        if site_rounds := [row for rows in rounds.values() for row in rows.site_rounds]:
            connection.execute(insert(SiteRoundRow), site_rounds)
        events = [event for rows in gathered for event in rows.events]
        if is_anew:
            events = without_known(connection, self._source, events)
        if events:
            connection.execute(insert(EventRow), events)
        write_news(connection, self._name, [rows.sites for rows in gathered])


def without_known(connection: Connection, source: str, events: list[Row]) -> list[Row]:
    """Those that are not in the history yet: of a journal that is read anew."""
    columns = ("time", "kind", "round", "site", "text")
    query = select(*(getattr(EventRow, name) for name in columns)).where(EventRow.source == source)
    known = {_identity(dict(row._mapping)) for row in connection.execute(query)}
    return [event for event in events if _identity(event) not in known]


def _identity(event: Row) -> tuple[Any, ...]:
    if event["kind"] == "unreadable":  # its time is when it was read
        return event["kind"], event["text"]
    return event["kind"], event["time"], event["round"], event["site"]
