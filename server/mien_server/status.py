"""Everything an operator wants to know of this moment, on one page.

Enters: the history, and the files of what goes on now (tickets, ``progress.json``, the certificate). Leaves:
a :class:`~mien_server.facts.Status`, for the page, the API and the terminal.
"""

import datetime as dt
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from mien_common.errors import MienError, TrustError
from mien_common.versions import MIEN_VERSION
from mien_server.certificates import read_certificate
from mien_server.facts import (
    Awaited,
    CurrentRound,
    Phase,
    ReleaseFacts,
    RoundFacts,
    RunFacts,
    ServerFacts,
    SiteFacts,
    Status,
)
from mien_server.folder import UP_LOCK_FILE, ServerFolder, is_up
from mien_server.history.reader import iso
from mien_server.runs.journal import JournalReader
from mien_server.runs.progress import Progress, read_progress
from mien_server.runs.queue import Ticket, read_tickets
from mien_server.runs.record import GONE, read_record, runs_before

RUNS: Final = 100
"""How many of the newest runs are looked through for those that wait or go on."""
ROUNDS: Final = 50
"""From how many of the last rounds the time of a round is estimated."""
MOST_NAMES: Final = 5


class Past(Protocol):
    """What a status needs to know of what was: the history, or what its files say while it is away."""

    @property
    def database(self) -> str: ...
    def sites(self) -> Sequence[SiteFacts]: ...
    def runs(self, limit: int) -> Sequence[RunFacts]: ...
    def run(self, name: str) -> RunFacts | None: ...
    def rounds(self, run: str, after: int) -> Sequence[RoundFacts]: ...
    def releases(self) -> Sequence[ReleaseFacts]: ...
    def last_event(self) -> int: ...
    def seen(self) -> dt.datetime | None: ...


def read_status(folder: ServerFolder, history: Past, now: dt.datetime) -> Status:
    """How the server stands.

    Raises
    ------
    StorageError
        The history's database does not answer.
    """
    up = is_up(folder)
    sites = [site if up else _gone(site) for site in history.sites()]
    tickets = read_tickets(folder)
    runs = [_as_it_is(folder, run, tickets, up) for run in _newest_runs(history, tickets)]
    run = _current(runs)
    latest = next((release.version for release in history.releases() if release.is_latest), None)
    return Status(
        server=_server(folder, history, up, now),
        run=run,
        now=None if run is None else current_round(folder, history, run, sites, now),
        queue=_queue(runs, tickets),
        sites=tuple(sites),
        latest_release=latest,
        events=history.last_event(),
    )


def current_round(
    folder: ServerFolder, history: Past, run: RunFacts, sites: Sequence[SiteFacts], now: dt.datetime
) -> CurrentRound | None:
    """What goes on in ``run``; None where nothing does, or nothing is known of it yet."""
    progress = read_progress(folder.runs / run.run) if run.state == "running" else None
    if progress is None or progress.round <= run.rounds_done:  # left by an earlier moment
        return None
    awaits = _awaited(progress, {site.name: site for site in sites})
    last = since_asked(history.rounds(run.run, after=max(run.rounds_done - ROUNDS, 0)), run.asked)
    return CurrentRound(
        run=run.run,
        round=progress.round,
        rounds=run.rounds,
        attempt=progress.attempt,
        phase=progress.phase,
        since=progress.since,
        deadline=progress.deadline,
        quorum=run.quorum,
        asked=progress.asked,
        answered=progress.answered,
        failed=progress.failed,
        awaits=awaits,
        in_words=in_words(progress, run.quorum, awaits, now),
        left_s=left_s(run.rounds - progress.round + 1, last, progress, now),
    )


def in_words(progress: Progress, quorum: int, awaits: Sequence[Awaited], now: dt.datetime) -> str:
    """What a round waits for: ``waiting for 1 of 3 sites: lab-2 last seen 40 s ago``."""
    if progress.phase == "aggregate":
        return f"making the new model of {len(progress.answered)} updates"
    if progress.phase == "waiting":
        there, absent = ", ".join(progress.online) or "none", _listed(awaits, now)
        if len(progress.online) >= quorum:
            return f"waiting for sites that were there before the run was interrupted: {absent}"
        more = f"; {absent}" if absent else ""
        return f"waiting for {quorum} sites to be online; online now: {there}{more}"
    what = "waiting" if progress.phase == "train" else "evaluating: waiting"
    if not awaits:
        return f"all {len(progress.asked)} sites have answered"
    return f"{what} for {len(awaits)} of {len(progress.asked)} sites: {_listed(awaits, now)}"


def left_s(rounds: int, last: Sequence[RoundFacts], progress: Progress, now: dt.datetime) -> float | None:
    """Seconds to the end of the run, as the medians of its ``last`` rounds say; None without any.

    Parameters
    ----------
    rounds : how many are not done yet, the one that goes on among them.
    """
    each = _median(found.seconds.total for found in last)
    if each is None:
        return None
    before = sum(
        _median(getattr(found.seconds, part) for found in last) or 0.0
        for part in _PARTS_BEFORE[progress.phase]
    )
    in_phase = max((now - dt.datetime.fromisoformat(progress.since)).total_seconds(), 0.0)
    return round(max(each - before - in_phase, 0.0) + each * (rounds - 1), 1)


_PARTS_BEFORE: Final[dict[Phase, tuple[str, ...]]] = {
    "waiting": (),
    "train": ("wait",),
    "aggregate": ("wait", "train", "transfer"),
    "evaluate": ("wait", "train", "transfer", "aggregate"),
}
"""What of a round is over when a phase begins, by the names of its seconds."""


def since_asked(rounds: Sequence[RoundFacts], asked: str | None) -> Sequence[RoundFacts]:
    """Those since the run was last asked for, if there are any: it may have been slower before that."""
    new = [found for found in rounds if asked is None or found.time >= asked]  # UTC, so they sort as text
    return new or rounds


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ago(seconds: float) -> str:
    """How long ago, in words: ``40 s``, ``3 min``, ``5 h``, ``2 days``."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _listed(awaits: Sequence[Awaited], now: dt.datetime) -> str:
    named = ", ".join(_seen(site, now) for site in awaits[:MOST_NAMES])
    return f"{named} and {len(awaits) - MOST_NAMES} more" if len(awaits) > MOST_NAMES else named


def _seen(site: Awaited, now: dt.datetime) -> str:
    if site.last_seen is None:
        return site.site if site.presence == "online" else f"{site.site} {site.presence}"
    seconds = (now - dt.datetime.fromisoformat(site.last_seen)).total_seconds()
    return f"{site.site} last seen {ago(seconds)} ago"


def _awaited(progress: Progress, sites: Mapping[str, SiteFacts]) -> tuple[Awaited, ...]:
    if progress.phase == "aggregate":
        return ()
    if progress.phase == "waiting":
        enrolled = [
            name for name, site in sites.items() if site.presence in ("late", "offline", "never seen")
        ]
        names = [name for name in progress.missing or sorted(enrolled) if name not in progress.online]
    else:
        names = [
            name for name in progress.asked if name not in progress.answered and name not in progress.failed
        ]
    found = []
    for name in names:
        site = sites.get(name)
        presence, seen = (site.presence, site.last_seen) if site else ("never seen", None)
        if seen is None and name in progress.online:  # while the history is away, only the run saw it
            presence = "online"
        found.append(Awaited(site=name, presence=presence, last_seen=seen))
    return tuple(found)


def _server(folder: ServerFolder, history: Past, up: bool, now: dt.datetime) -> ServerFacts:
    end = None
    with suppress(TrustError):
        end = iso(read_certificate(folder.tls / "server.crt").not_valid_after_utc)
    since = None
    if up:  # the lock's holder writes its number into it once, when it has it
        with suppress(OSError):
            since = iso(dt.datetime.fromtimestamp((folder.state / UP_LOCK_FILE).stat().st_mtime, dt.UTC))
    seen = history.seen()
    return ServerFacts(
        version=MIEN_VERSION,
        time=iso(now),
        up=up,
        since=since,
        certificate_ends=end,
        database=history.database,
        behind_s=None if seen is None or not up else round(max((now - seen).total_seconds(), 0.0), 1),
    )


def _newest_runs(history: Past, tickets: Collection[Ticket]) -> list[RunFacts]:
    """The newest runs, and those that have a ticket, however old."""
    runs = {run.run: run for run in history.runs(RUNS)}
    for ticket in tickets:
        if ticket.run not in runs and (run := history.run(ticket.run)) is not None:
            runs[ticket.run] = run
    return list(runs.values())


def _as_it_is(folder: ServerFolder, run: RunFacts, tickets: list[Ticket], up: bool) -> RunFacts:
    """The history may be a moment behind; a server that is down leaves it as it was."""
    ticket = next((found for found in tickets if found.run == run.run), None)
    is_held = up and ticket is not None  # by the queue, whose server runs
    if run.state == "running" and not is_held and not _is_written(folder, run.run):
        return _as_it_ended(folder, run)
    if run.state == "waiting" and ticket is None:
        return _as_it_ended(folder, run)
    if ticket is not None and ticket.waits:
        return run.model_copy(
            update={
                "state": "waiting",
                "not_before": iso(ticket.not_before) if ticket.not_before else None,
                "behind": runs_before(ticket, tickets),
            }
        )
    return run


def _as_it_ended(folder: ServerFolder, run: RunFacts) -> RunFacts:
    """As its own files tell it: its server may have been killed before the history took that up."""
    try:
        record = read_record(folder, run.run)
    except MienError:
        return run.model_copy(update={"state": "died", "reason": GONE})
    return run.model_copy(
        update={
            "state": record.state,
            "reason": record.reason,
            "ended": record.ended,
            "rounds_done": record.rounds_done,
            **{f"{target}_ccc": value for target, value in record.ccc.items()},
        }
    )


def _is_written(folder: ServerFolder, run: str) -> bool:
    with suppress(OSError):
        return JournalReader(folder.runs / run).is_written()
    return False


def _current(runs: Sequence[RunFacts]) -> RunFacts | None:
    """The one that goes on; else the one that ended last."""
    running = [run for run in runs if run.state == "running"]
    over = [run for run in runs if run.state not in ("waiting", "running")]
    return next(iter(running), max(over, key=lambda run: run.ended or run.started or "", default=None))


def _queue(runs: Sequence[RunFacts], tickets: Sequence[Ticket]) -> tuple[RunFacts, ...]:
    order = {ticket.run: place for place, ticket in enumerate(tickets)}
    waiting = [run for run in runs if run.state == "waiting"]
    return tuple(sorted(waiting, key=lambda run: order.get(run.run, len(order))))


def _gone(site: SiteFacts) -> SiteFacts:
    """No server, and nobody is online."""
    return site.model_copy(update={"presence": "offline"}) if site.presence in ("online", "late") else site
