"""One run after another: ``mien server up`` looks here every moment.

Enters: the tickets in the queue. Leaves: the next run, started when no other goes on; and, of one whose
ServerApp died without a word, a last line in its journal.
"""

import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Final, Protocol

from mien_common.errors import FederationError, InputError, MienError
from mien_server.control import Control, RunStatus
from mien_server.folder import ServerFolder
from mien_server.runs.journal import LAST_EVENTS, JournalReader
from mien_server.runs.queue import Ticket, append, read_tickets, remove_ticket, runs_locked, write_ticket

LOOK_S: Final = 0.2
ASK_S: Final = 2.0
"""How often Flower is asked about a run that has not begun yet, or tried again when it did not answer."""
START_PATIENCE_S: Final = 180.0
"""How long Flower may take to start a run's ServerApp."""
STOP_PATIENCE_S: Final = 20.0
"""How long a ServerApp may take to obey, before Flower is told to end it."""
LOCK_PATIENCE_S: Final = 1.0

log = logging.getLogger(__name__)


class ControlApi(Protocol):
    """What is asked of Flower: the part of :class:`~mien_server.control.Control` that this needs."""

    def start_run(self, config: Mapping[str, str]) -> int:
        """Flower's number of the run."""
        ...

    def run_status(self, run_id: int) -> RunStatus:
        """Where it stands."""
        ...

    def stop_run(self, run_id: int) -> None:
        """End it."""
        ...


class Dispatcher:
    """Serves the queue of ``folder``; one per server, under the lock of ``mien server up``.

    Parameters
    ----------
    control : connects to Flower; passed in, like the clocks, for tests.
    """

    def __init__(
        self,
        folder: ServerFolder,
        control: Callable[[ServerFolder], AbstractContextManager[ControlApi]] = Control,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._control = control
        self._now, self._monotonic = now, monotonic
        self._next_look = self._next_ask = 0.0
        self._started: dict[str, float] = {}
        """When this server started a run, by name."""
        self._stopping: dict[str, float] = {}
        """When Flower is to end a run that was told to stop."""
        self._said = ""

    def look(self) -> None:
        """See to the runs that go on, and start the next where none does; to be called every moment."""
        if self._monotonic() < self._next_look:
            return
        self._next_look = self._monotonic() + LOOK_S
        if not any(self._folder.queue.glob("[!.]*.json")):
            return
        try:
            with runs_locked(self._folder, LOCK_PATIENCE_S):
                tickets = read_tickets(self._folder)
                going_on = [self._goes_on(ticket) for ticket in tickets if not ticket.waits]
                if not any(going_on):
                    self._start_next([ticket for ticket in tickets if ticket.waits])
        except MienError as error:
            if str(error) != self._said:  # once, not five times a second
                log.warning("event=queue_held_up reason=%s", error)
            self._said = str(error)
        else:
            self._said = ""

    def _goes_on(self, ticket: Ticket) -> bool:
        """Whether a run that was started is not over yet; if it is, its ticket is gone afterwards.

        Its ServerApp takes the lock that we hold before it writes: no run looks dead that begins now.
        """
        journal = JournalReader(self._folder.runs / ticket.run, ticket.journal_bytes)
        if journal.is_written():
            self._see_that_it_stops(ticket)
            return True
        try:
            events = [event["event"] for event in journal.new()]
        except InputError as error:  # damaged by hand: it must not hold up the others
            log.warning("event=journal_damaged run=%s reason=%s", ticket.run, error)
            events = ["failed"]
        if not events:
            if (reason := self._not_begun(ticket)) is None:
                return True
            self._end(ticket, reason)
        elif events[-1] not in LAST_EVENTS:
            self._end(ticket, "its ServerApp died")
        remove_ticket(self._folder, ticket.run)
        self._started.pop(ticket.run, None)
        self._stopping.pop(ticket.run, None)
        log.info("event=run_over run=%s", ticket.run)
        return False

    def _not_begun(self, ticket: Ticket) -> str | None:
        """Why a run of which there is no event will not begin any more; None where it may."""
        if ticket.run not in self._started:
            return "the server ended before the run began"
        if self._monotonic() - self._started[ticket.run] > START_PATIENCE_S:
            return f"it did not start within {START_PATIENCE_S:.0f} s"
        if self._monotonic() < self._next_ask:
            return None
        self._next_ask = self._monotonic() + ASK_S
        with suppress(FederationError), self._control(self._folder) as control:
            # A SuperLink that is away for a while is forgiven.
            status = control.run_status(ticket.flower_run or 0)
            if status.finished:
                return status.details or "its ServerApp ended before it began"
        return None

    def _see_that_it_stops(self, ticket: Ticket) -> None:
        """A ServerApp obeys within a second, unless it waits for a SuperLink that is away."""
        if not ticket.stop_asked:
            return
        due = self._stopping.setdefault(ticket.run, self._monotonic() + STOP_PATIENCE_S)
        if self._monotonic() >= due:
            self._stopping[ticket.run] = self._monotonic() + STOP_PATIENCE_S
            log.warning("event=run_does_not_stop run=%s", ticket.run)
            self._forget(ticket)

    def _end(self, ticket: Ticket, reason: str) -> None:
        """Write the last line that a ServerApp left out, and let Flower forget the run."""
        log.warning("event=run_ended_without_a_word run=%s reason=%s", ticket.run, reason)
        self._forget(ticket)
        path = self._folder.runs / ticket.run
        # Named from the server's folder on: the page shows this to people who need not know where that is.
        logs = f"See runs/{ticket.run}/server_app.log and logs/superexec.log in the server's folder"
        try:
            if ticket.stop_asked:
                append(path, "stopped", run=ticket.run, reason="its operator stopped it")
            else:
                append(path, "died", run=ticket.run, error=f"{reason}. {logs}")
        except MienError as error:  # a full disk: without its last line, too, it counts as dead
            log.warning("event=last_line_not_written run=%s reason=%s", ticket.run, error)

    def _forget(self, ticket: Ticket) -> None:
        with suppress(FederationError), self._control(self._folder) as control:  # it knows, or is away
            control.stop_run(ticket.flower_run or 0)

    def _start_next(self, waiting: list[Ticket]) -> None:
        """Start the first run whose time has come."""
        now = self._now()
        due = [ticket for ticket in waiting if ticket.not_before is None or ticket.not_before <= now]
        if not due or self._monotonic() < self._next_ask:
            return
        ticket = due[0]
        self._next_ask = self._monotonic() + ASK_S  # if it fails
        with self._control(self._folder) as control:
            flower_run = control.start_run({"run": ticket.run})
            try:
                write_ticket(self._folder, ticket.model_copy(update={"flower_run": flower_run}))
            except MienError:  # its ServerApp will find no ticket with this number, and refuse
                control.stop_run(flower_run)
                raise
        self._started[ticket.run] = self._monotonic()
        self._next_ask = 0.0
        log.info("event=run_started run=%s", ticket.run)
