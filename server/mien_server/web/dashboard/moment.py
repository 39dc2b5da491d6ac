"""The status of this moment, also while the history's database is away.

Enters: the history, or what the server's own files and the SuperLink say. Leaves: a status, which then knows
no event, and what sites did as it was last told.
"""

import datetime as dt
import logging
import time
from collections.abc import Sequence
from typing import Final

from mien_common.errors import StorageError
from mien_server.facts import ReleaseFacts, RoundFacts, RunFacts, SiteFacts, Status
from mien_server.folder import ServerFolder
from mien_server.history.reader import History
from mien_server.publishing.catalogue import Catalogue
from mien_server.runs.queue import read_ticket
from mien_server.runs.record import RunRecord, list_runs, read_record
from mien_server.runs.settings import in_words
from mien_server.status import read_status
from mien_server.web.dashboard.roll_call import RollCall

AGAIN_S: Final = 5.0
"""How long a database that was away is not asked again: one that does not answer takes seconds to say so."""

log = logging.getLogger(__name__)


class Moment:
    """Tells the status; may be used from several threads."""

    def __init__(self, folder: ServerFolder, history: History, catalogue: Catalogue) -> None:
        self._folder, self._history, self._catalogue = folder, history, catalogue
        self._sites: tuple[SiteFacts, ...] = ()
        self._roll_call = RollCall(folder)
        self._away_until = 0.0

    def status(self, now: dt.datetime) -> Status:
        """As it is now."""
        if time.monotonic() >= self._away_until:
            try:
                found = read_status(self._folder, self._history, now)
            except StorageError as error:
                log.warning("event=history_away reason=%s", error)
                self._away_until = time.monotonic() + AGAIN_S
            else:
                self._sites = found.sites
                return found
        self._sites = self._roll_call.sites(self._sites, now)
        files = _Files(self._folder, self._history.database, self._sites, self._catalogue)
        return read_status(self._folder, files, now)


class _Files:
    """What is known without the history."""

    def __init__(
        self, folder: ServerFolder, database: str, sites: Sequence[SiteFacts], catalogue: Catalogue
    ) -> None:
        self._folder, self.database, self._sites, self._catalogue = folder, database, sites, catalogue

    def sites(self) -> Sequence[SiteFacts]:
        return self._sites

    def runs(self, limit: int) -> list[RunFacts]:
        records = list_runs(self._folder)
        found = [facts_of(self._folder, record, place) for place, record in enumerate(records, start=1)]
        return found[::-1][:limit]

    def run(self, name: str) -> RunFacts | None:
        return next((run for run in self.runs(limit=10**6) if run.run == name), None)

    def rounds(self, run: str, after: int) -> list[RoundFacts]:  # noqa: ARG002 - they are in the history only
        return []

    def releases(self) -> list[ReleaseFacts]:
        return self._catalogue.releases()

    def last_event(self) -> int:
        return 0

    def seen(self) -> None:
        return None


def run_now(folder: ServerFolder, history: History, run: str) -> RunFacts:
    """How ``run`` stands by its own files: the history hears of what was just done a moment later.

    Raises
    ------
    SettingsError
        There is no such run.
    """
    try:
        known = history.run(run)
    except StorageError:
        known = None
    number = known.number if known else 1 + [record.name for record in list_runs(folder)].index(run)
    facts = facts_of(folder, read_record(folder, run), number)
    return facts.model_copy(update={"asked": facts.asked or (known.asked if known else None)})


def facts_of(folder: ServerFolder, record: RunRecord, number: int) -> RunFacts:
    """A run as its files tell it."""
    ticket = read_ticket(folder, record.name)
    return RunFacts(
        run=record.name,
        number=number,
        state=record.state,
        rule=record.settings.rule.name,
        rounds=record.settings.rounds,
        rounds_done=record.rounds_done,
        quorum=record.settings.quorum,
        asked=_iso(ticket.asked) if ticket else None,
        started=record.started,
        ended=record.ended,
        not_before=_iso(record.not_before),
        behind=record.behind,
        reason=record.reason,
        resumed=record.resumed,
        valence_ccc=record.ccc.get("valence"),
        arousal_ccc=record.ccc.get("arousal"),
        settings=in_words(record.settings),
    )


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
