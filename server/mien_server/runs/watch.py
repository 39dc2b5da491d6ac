"""Follow a run from the queue to its end.

Enters: the run's name. Leaves: its events, as they happen. A run whose ServerApp died without a word is
noticed within a second, by ``mien server up``, which then writes its last event.
"""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Final

from mien_common.errors import FederationError, MienError
from mien_server.folder import ServerFolder, is_up
from mien_server.logs import raise_if_interrupted
from mien_server.runs.journal import LAST_EVENTS, Event, JournalReader, new_event
from mien_server.runs.queue import read_ticket, stop
from mien_server.runs.record import GONE, RunRecord, read_record
from mien_server.runs.settings import run_folder

POLL_S: Final = 0.1
LOOK_S: Final = 0.5
SERVER_PATIENCE_S: Final = 60.0
"""How long ``mien server up`` may be away, as when it is started again, before a queued run is left alone."""


def conduct(folder: ServerFolder, run: str) -> Generator[Event]:
    """Events of a run that was submitted, to its end. Closing the iterator early stops the run.

    Raises
    ------
    FederationError
        The run failed, was stopped, or died.
    """
    try:
        for event in follow(folder, run):
            yield event
            check_finished(run, event)
    except (GeneratorExit, KeyboardInterrupt):
        with suppress(MienError):  # it is over by now
            stop(folder, run)
        raise


def check_finished(run: str, event: Event) -> None:
    """Raise FederationError if ``event`` is the last one of a run that did not finish."""
    again = f"It goes on where it was: mien server run --resume {run}"
    match event["event"]:
        case "failed":
            raise FederationError(f"the run {run} failed: {event['error']}")
        case "died":
            raise FederationError(f"the run {run} died: {event['error']}. {again}")
        case "stopped":
            raise FederationError(f"the run {run} was stopped: {event.get('reason', '')}. {again}")


def follow(folder: ServerFolder, run: str, whole: bool = False) -> Generator[Event]:
    """Events of ``run`` up to its last one; while it waits for its turn, ``queued`` says for what.

    Parameters
    ----------
    whole : from the first event ever; else from when the run was last asked for.

    Raises
    ------
    FederationError
        There will be no last one, because no server is there.
    """
    path = run_folder(folder, run)
    ticket = read_ticket(folder, run)
    position = 0 if whole or ticket is None else ticket.journal_bytes
    yield from _to_the_end(folder, run, JournalReader(path, position))


def _to_the_end(folder: ServerFolder, run: str, reader: JournalReader) -> Iterator[Event]:
    told, last = "", ""
    seen_up = time.monotonic()
    next_look = seen_up + LOOK_S
    while True:
        # Before the events are read: if the run is over now, none of its last ones is missed.
        ticket, is_written = read_ticket(folder, run), reader.is_written()
        for event in reader.new():
            last = event["event"]
            yield event
        if not is_written and (ticket is None or reader.position > ticket.journal_bytes):
            if last in LAST_EVENTS:
                return
            if ticket is None or not is_up(folder):  # else its server is about to say so
                yield new_event("died", run=run, error=GONE)
                return
        now = time.monotonic()
        if is_written:
            seen_up = now
        elif now >= next_look:
            next_look = now + LOOK_S
            record = read_record(folder, run)
            if record.state == "waiting" and (record.behind or record.not_before):
                news = _queued(record)
                if told != (told := json.dumps({**news, "time": ""})):
                    yield news
            if is_up(folder):
                seen_up = now
            elif now - seen_up > SERVER_PATIENCE_S:
                raise FederationError(
                    f"the run {run} is {record.state}, but no server is up. Start it: mien server up --dir "
                    f"{folder.path}; then look: mien server show {run}"
                )
        raise_if_interrupted()
        time.sleep(POLL_S)


def _queued(record: RunRecord) -> Event:
    return new_event(
        "queued",
        run=record.name,
        behind=list(record.behind),
        not_before=record.not_before.isoformat() if record.not_before else None,
    )
