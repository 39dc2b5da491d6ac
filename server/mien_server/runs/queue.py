"""The queue of runs: who waits, who goes on, who was told to stop.

Enters: an operator's wish, from a command. Leaves: a ticket per run in ``state/queue``, which the dispatcher
in ``mien server up`` (:mod:`mien_server.runs.dispatch`) serves, and removes when the run is over. A ticket is
whole or absent, and nobody changes one without the lock, which the kernel drops when its holder dies.
"""

import datetime as dt
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import FederationError, InputError, SettingsError
from mien_common.files import make_folder, read_bounded, storage_errors, write_atomic
from mien_server.folder import ServerFolder, is_up
from mien_server.runs.journal import LAST_EVENTS, Journal, JournalReader
from mien_server.runs.settings import RUN_NAME, RunSettings, create_run, run_folder

TICKET_LIMIT_BYTES: Final = 16 * 1024
LOCK_PATIENCE_S: Final = 40.0
"""Longer than a call to the SuperLink, during which the dispatcher holds the lock, can last."""
STOP_PATIENCE_S: Final = 30.0
POLL_S: Final = 0.1

log = logging.getLogger(__name__)


class Ticket(BaseModel):
    """A run that waits for its turn, or has been given to Flower and is not over yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field(pattern=f"^{RUN_NAME}$")
    asked: AwareDatetime
    """Tickets are served in this order."""
    not_before: AwareDatetime | None = None
    """A scheduled start; it does not hold up the others before it has come."""
    journal_bytes: int = Field(ge=0)
    """Where in the journal the events of this start begin."""
    flower_run: int | None = None
    """Flower's number of it, once it was started."""
    stop_asked: bool = False

    @property
    def waits(self) -> bool:
        """Whether its turn is still to come."""
        return self.flower_run is None


@contextmanager
def runs_locked(folder: ServerFolder, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
    """Hold the queue: one command at a time, or the dispatcher, looks at it and changes it.

    Raises
    ------
    FederationError
        Another process kept it all the time.
    """
    file = folder.state / "runs.lock"
    with storage_errors(file):
        lock = file.open("a+")
    with lock:
        end = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    lock.seek(0)
                    raise FederationError(
                        f"another command holds the queue of {folder.path} (process "
                        f"{lock.read().strip() or 'unknown'}). Try again when it is done."
                    ) from error
                time.sleep(0.01)
        lock.seek(0)
        if lock.read() != (us := f"{os.getpid()}\n"):  # the dispatcher comes five times a second
            lock.truncate(0)
            lock.write(us)
            lock.flush()
        yield


def submit(
    folder: ServerFolder, settings: RunSettings, now: dt.datetime, not_before: dt.datetime | None = None
) -> str:
    """Put a new run into the queue; its name."""
    with runs_locked(folder):
        run = create_run(folder, settings, now).name
        write_ticket(folder, Ticket(run=run, asked=now, not_before=not_before, journal_bytes=0))
    return run


def submit_again(
    folder: ServerFolder, run: str, now: dt.datetime, not_before: dt.datetime | None = None
) -> bool:
    """Put a run that is over but not finished into the queue; False where it is there, or goes on.

    Raises
    ------
    SettingsError
        There is no such run, or it is finished.
    """
    with runs_locked(folder):
        path = run_folder(folder, run)
        journal = JournalReader(path)
        if read_ticket(folder, run) is not None or journal.is_written():
            return False
        events = list(journal.new())
        if events and events[-1]["event"] == "finished":
            raise SettingsError(
                f"the run {run} is finished: there is nothing to resume. Start a new one: mien server run"
            )
        write_ticket(
            folder, Ticket(run=run, asked=now, not_before=not_before, journal_bytes=journal.position)
        )
    return True


def request_stop(folder: ServerFolder, run: str) -> bool:
    """Tell a run to stop; True where that was all, False where its ServerApp has to obey first.

    Raises
    ------
    SettingsError
        There is no such run, or it is over.
    """
    with runs_locked(folder):
        path = run_folder(folder, run)
        ticket = read_ticket(folder, run)
        if ticket is None:
            events = [event["event"] for event in JournalReader(path).new()]
            how = events[-1] if events and events[-1] in LAST_EVENTS else "died"
            raise SettingsError(f"the run {run} is over already ({how}): there is nothing to stop.")
        if not ticket.waits:
            write_ticket(folder, ticket.model_copy(update={"stop_asked": True}))
            return False
        append(path, "stopped", run=run, reason="taken out of the queue before it was started")
        remove_ticket(folder, run)
    return True


def stop(folder: ServerFolder, run: str) -> bool:
    """Stop a run, or take it out of the queue; whether it has ended within half a minute.

    Raises
    ------
    SettingsError
        There is no such run, or it is over.
    """
    if request_stop(folder, run):
        return True
    end = time.monotonic() + STOP_PATIENCE_S
    while time.monotonic() < end and is_up(folder):
        if read_ticket(folder, run) is None:
            return True
        time.sleep(POLL_S)
    return read_ticket(folder, run) is None or not is_up(folder)


def stop_asked(folder: ServerFolder, run: str) -> bool:
    """Whether the operator wants the run to stop; a ticket damaged by hand does not end a run."""
    with suppress(SettingsError):
        ticket = read_ticket(folder, run)
        return ticket is not None and ticket.stop_asked
    return False


def append(path: Path, event: str, **values: object) -> None:
    """Write one event into the journal of a run that no ServerApp conducts."""
    journal = Journal(path)
    try:
        journal.write(event, **values)
    finally:
        journal.close()


def read_tickets(folder: ServerFolder) -> list[Ticket]:
    """All tickets, in the order in which they are served; one that is damaged is left out, with a warning."""
    tickets = []
    for file in sorted(folder.queue.glob("[!.]*.json")):
        try:
            ticket = read_ticket(folder, file.stem)
        except SettingsError as error:
            log.warning("event=ticket_ignored reason=%s", error)
            continue
        if ticket is not None:
            tickets.append(ticket)
    return sorted(tickets, key=lambda ticket: (ticket.asked, ticket.run))


def read_ticket(folder: ServerFolder, run: str) -> Ticket | None:
    """The ticket of ``run``; None where it has none.

    Raises
    ------
    SettingsError
        It is damaged.
    """
    file = _file(folder, run)
    try:
        content = read_bounded(file, TICKET_LIMIT_BYTES)
    except InputError as error:
        if not file.exists():
            return None
        raise SettingsError(str(error)) from error
    try:
        ticket = Ticket.model_validate_json(content)
        if ticket.run != run:
            raise ValueError(f"it is of {ticket.run}")
    except ValueError as error:
        reason = "it is not what Mien wrote" if isinstance(error, ValidationError) else str(error)
        raise SettingsError(
            f"{file} is damaged: {reason}. Delete it, then take the run up: mien server run --resume {run}"
        ) from error
    return ticket


def write_ticket(folder: ServerFolder, ticket: Ticket) -> None:
    """Put a ticket into the queue, in place of the run's old one."""
    make_folder(folder.queue, mode=0o700)
    write_atomic(_file(folder, ticket.run), ticket.model_dump_json(indent=2).encode() + b"\n")


def remove_ticket(folder: ServerFolder, run: str) -> None:
    """The run is over."""
    with storage_errors(_file(folder, run)):
        _file(folder, run).unlink(missing_ok=True)


def _file(folder: ServerFolder, run: str) -> Path:
    return folder.queue / f"{run}.json"
