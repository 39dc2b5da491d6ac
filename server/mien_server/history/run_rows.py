"""A run's row: its settings once, and how it stands as its journal and its ticket say."""

import datetime as dt
from typing import Any

from mien_server.history.journal_rows import RunSoFar
from mien_server.runs.queue import Ticket
from mien_server.runs.record import GONE, State, runs_before
from mien_server.runs.settings import RunSettings, in_words

ENDED: tuple[State, ...] = ("finished", "stopped", "failed", "died")


def new_run(run: str, number: int, settings: RunSettings) -> dict[str, Any]:
    """The row of a run of which only the settings were read."""
    return {
        **standing(RunSoFar(), None, [], False, False),
        "state": "waiting",
        "reason": "",
        "asked": None,
        "run": run,
        "number": number,
        "rule": settings.rule.name,
        "rounds": settings.rounds,
        "quorum": settings.quorum,
        "settings": in_words(settings),
    }


def standing(
    so_far: RunSoFar, ticket: Ticket | None, tickets: list[Ticket], is_written: bool, is_up: bool
) -> dict[str, Any]:
    """What changes of it.

    Parameters
    ----------
    is_written : whether a ServerApp held its journal before ``so_far`` was read.
    is_up : whether a server runs that would start it.
    """
    is_since = ticket is None or so_far.last_at >= ticket.journal_bytes
    last = so_far.last if is_since else ""
    state = _state(last, ticket, is_written, is_up)
    waits = ticket if state == "waiting" else None
    return {
        "state": state,
        "rounds_done": so_far.rounds_done,
        "started": so_far.started,
        "ended": so_far.last_time if state in ENDED else None,
        "not_before": waits.not_before if waits else None,
        "behind": list(runs_before(waits, tickets)) if waits else [],
        "reason": _reason(state, last, so_far.last_reason),
        "resumed": so_far.resumed,
        "valence_ccc": so_far.valence_ccc,
        "arousal_ccc": so_far.arousal_ccc,
    }


def gone(now: dt.datetime) -> dict[str, Any]:
    """What changes of a run whose folder went away before it was over."""
    reason = "its folder was deleted"
    return {"state": "died", "ended": now, "reason": reason, "not_before": None, "behind": []}


def _state(last: str, ticket: Ticket | None, is_written: bool, is_up: bool) -> State:
    """The rule of :mod:`mien_server.runs.record`, for a journal that is not read again."""
    if is_written:
        return "running"
    if ticket is not None and ticket.waits:
        return "waiting"
    ended: State | None = next((state for state in ENDED if state == last), None)
    if ended is not None:
        return ended
    return "running" if ticket is not None and is_up else "died"


def _reason(state: State, last: str, said: str) -> str:
    if state == "died" and last != "died":
        return GONE
    return said if state in ("failed", "died", "stopped") else ""
