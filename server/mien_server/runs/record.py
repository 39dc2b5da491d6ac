"""What is known of a run, from its folder alone: its state, how far it is, why it ended.

Enters: settings, journal and ticket. Leaves: a :class:`RunRecord`, for ``mien server list`` and ``show``.
"""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from mien_common.errors import FederationError, InputError, MienError, SettingsError
from mien_server.folder import ServerFolder, is_up
from mien_server.runs.journal import Event, JournalReader
from mien_server.runs.queue import Ticket, read_tickets
from mien_server.runs.settings import RunSettings, read_run, run_folder

State = Literal["waiting", "running", "finished", "stopped", "failed", "died"]

GONE: Final = "its ServerApp ended without a word, as when the server was killed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRecord:
    """A run as an operator wants to know it."""

    name: str
    state: State
    settings: RunSettings
    rounds_done: int
    started: str | None
    """When it first began; UTC, ISO 8601, as are the others."""
    ended: str | None
    """When it ended last; None while it waits or goes on."""
    ccc: dict[str, float | None]
    """Pooled CCC by target after the last round that was done; empty before the first."""
    reason: str
    """Why it ended before its last round, in words; empty for others."""
    not_before: dt.datetime | None
    """When it is to start, if it waits for a time."""
    behind: tuple[str, ...]
    """Runs that it waits for."""
    resumed: int
    """How often it was taken up again."""

    @property
    def in_json(self) -> dict[str, Any]:
        """As ``mien server list --json`` prints it."""
        return {
            "run": self.name,
            "state": self.state,
            "rounds_done": self.rounds_done,
            "rounds": self.settings.rounds,
            "rule": self.settings.rule.name,
            "started": self.started,
            "ended": self.ended,
            "ccc": self.ccc,
            "reason": self.reason,
            "not_before": self.not_before.isoformat() if self.not_before else None,
            "behind": list(self.behind),
            "resumed": self.resumed,
        }


def list_runs(
    folder: ServerFolder, left_out: Callable[[str], None] = lambda _reason: None
) -> list[RunRecord]:
    """Every run, oldest first; one whose files are damaged is left out, and ``left_out`` told why."""
    tickets = read_tickets(folder)
    names = [path.parent.name for path in folder.runs.glob("[!.]*/settings.json")]
    found = []
    for name in sorted(names, key=lambda name: (name[:10], len(name), name)):  # number 1000 follows 999
        try:
            found.append(_record(folder, name, tickets))
        except MienError as error:
            log.warning("event=run_left_out run=%s reason=%s", name, error)
            left_out(str(error))
    return found


def read_record(folder: ServerFolder, run: str) -> RunRecord:
    """What is known of ``run``.

    Raises
    ------
    SettingsError
        There is no such run, or its settings are damaged.
    InputError
        Its journal is damaged.
    """
    return _record(folder, run, read_tickets(folder))


def run_to_resume(folder: ServerFolder) -> str:
    """The newest run that is not finished.

    Raises
    ------
    SettingsError
        There is none.
    """
    unfinished = [record.name for record in list_runs(folder) if record.state != "finished"]
    if not unfinished:
        raise SettingsError(
            "every run is finished: there is nothing to resume. `mien server list` shows them."
        )
    return unfinished[-1]


def check_unfinished(folder: ServerFolder, run: str) -> None:
    """Raise SettingsError where there is nothing to resume, or no such run."""
    if read_record(folder, run).state == "finished":
        raise SettingsError(
            f"the run {run} is finished: there is nothing to resume. Start a new one: mien server run"
        )


def run_to_stop(folder: ServerFolder) -> str:
    """The run that goes on.

    Raises
    ------
    FederationError
        None does.
    """
    running = [record.name for record in list_runs(folder) if record.state == "running"]
    if not running:
        raise FederationError(
            "no run goes on now. To take one out of the queue, name it: mien server stop RUN; "
            "`mien server list` shows them."
        )
    return running[-1]


def _record(folder: ServerFolder, run: str, tickets: list[Ticket]) -> RunRecord:
    path = run_folder(folder, run)
    journal = JournalReader(path)
    is_written = journal.is_written()  # before it is read: a run that ends meanwhile has its last event then
    events = list(journal.new())
    ticket = next((ticket for ticket in tickets if ticket.run == run), None)
    now = events if ticket is None else list(JournalReader(path, ticket.journal_bytes).new())
    state = _state(folder, now, ticket, is_written)
    rounds = [event for event in events if event["event"] == "round"]
    last = now[-1] if now else {}
    try:
        return RunRecord(
            name=run,
            state=state,
            settings=read_run(path),
            rounds_done=max((int(event["round"]) for event in rounds), default=0),
            started=next((str(event["time"]) for event in events if event["event"] == "started"), None),
            ended=last.get("time") if state not in ("waiting", "running") else None,
            ccc={target: found["pooled"] for target, found in rounds[-1]["ccc"].items()} if rounds else {},
            reason=_reason(state, last),
            not_before=ticket.not_before if ticket is not None and state == "waiting" else None,
            behind=runs_before(ticket, tickets) if ticket is not None and state == "waiting" else (),
            resumed=sum(event["event"] == "resumed" for event in events),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged: an event of its journal lacks a part ({error})") from error


def _state(folder: ServerFolder, events: list[Event], ticket: Ticket | None, is_written: bool) -> State:
    """From what the journal says since the run was last asked for."""
    if is_written:
        return "running"
    if ticket is not None and ticket.waits:
        return "waiting"
    match events[-1]["event"] if events else "":
        case "finished":
            return "finished"
        case "stopped":
            return "stopped"
        case "failed":
            return "failed"
        case "died":
            return "died"
    return "running" if ticket is not None and is_up(folder) else "died"  # on its way, or gone


def _reason(state: State, last: Event) -> str:
    if state == "died" and last.get("event") != "died":
        return GONE
    return (
        str(last.get("error") or last.get("reason") or "") if state in ("failed", "died", "stopped") else ""
    )


def runs_before(ticket: Ticket, tickets: list[Ticket]) -> tuple[str, ...]:
    """What a run waits for: runs that go on, and those that are served before it."""
    before = [other for other in tickets if not other.waits or other.not_before is None]
    served = tickets.index(ticket)
    return tuple(
        other.run
        for other in before
        if other.run != ticket.run and (not other.waits or tickets.index(other) < served)
    )
