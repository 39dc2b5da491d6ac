"""The history as whoever shows it asks for it: pages, the API, the terminal.

Enters: filters. Leaves: facts (:mod:`mien_server.facts`). Nothing is written, and every question is one short
transaction, so that a connection that broke costs the next question nothing.
"""

import datetime as dt
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from sqlalchemy import URL, Connection, Row, and_, func, select

from mien_server.facts import (
    CccFacts,
    EventFacts,
    LossFacts,
    ReleaseFacts,
    RoundFacts,
    RoundSeconds,
    RunFacts,
    SiteFacts,
    SiteRoundFacts,
    TotalFacts,
)
from mien_server.history.connection import database_errors, reader_engine
from mien_server.history.revisions import check
from mien_server.history.tables import (
    EventRow,
    ReleaseRow,
    RoundRow,
    RunRow,
    ServerRow,
    SiteRoundRow,
    SiteRow,
)


class History:
    """Questions to the history at ``url``; may be used from several threads.

    Every method raises StorageError, in words for a person, where the database does not answer or is not
    there yet; once it answers, so does the next call.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = reader_engine(url)
        self._is_checked = False

    @property
    def database(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._url.get_backend_name()

    def check(self) -> None:
        """Raise StorageError unless it is there and has the form that this Mien knows."""
        check(self._engine, self._url)
        self._is_checked = True

    def close(self) -> None:
        """Let go of all connections; a later question makes new ones."""
        self._engine.dispose()

    def runs(self, limit: int = 100, before: int | None = None) -> list[RunFacts]:
        """Runs, newest first; ``before``: only those with a lower ``number``."""
        query = select(RunRow.__table__).order_by(RunRow.number.desc()).limit(limit)
        if before is not None:
            query = query.where(RunRow.number < before)
        with self._connection() as connection:
            return [_run(row) for row in connection.execute(query)]

    def run(self, name: str) -> RunFacts | None:
        """One run; None where the history has none of this name."""
        with self._connection() as connection:
            row = connection.execute(select(RunRow.__table__).where(RunRow.run == name)).first()
        return None if row is None else _run(row)

    def rounds(self, run: str, after: int = 0, limit: int = 5000) -> list[RoundFacts]:
        """Rounds of a run that come after the round ``after``, in order."""
        query = (
            select(RoundRow.__table__)
            .where(RoundRow.run == run, RoundRow.round > after)
            .order_by(RoundRow.round)
            .limit(limit)
        )
        with self._connection() as connection:
            return [_round(row) for row in connection.execute(query)]

    def site_rounds(
        self, run: str, round: int | None = None, site: str | None = None, limit: int = 5000
    ) -> list[SiteRoundFacts]:
        """The sites' parts in a run, by round and name; the last ``limit`` of them."""
        query = select(SiteRoundRow.__table__).where(SiteRoundRow.run == run)
        if round is not None:
            query = query.where(SiteRoundRow.round == round)
        if site is not None:
            query = query.where(SiteRoundRow.site == site)
        query = query.order_by(SiteRoundRow.round.desc(), SiteRoundRow.site.desc()).limit(limit)
        with self._connection() as connection:
            found = [SiteRoundFacts(**_shared(row, SiteRoundFacts)) for row in connection.execute(query)]
        return found[::-1]

    def sites(self) -> list[SiteFacts]:
        """Every site that was ever invited or enrolled, by name."""
        in_its_last_run = and_(SiteRoundRow.site == SiteRow.name, SiteRoundRow.run == SiteRow.run)
        last = (
            select(SiteRow.__table__, *_LAST_ROUND)
            .outerjoin(SiteRoundRow, and_(in_its_last_run, SiteRoundRow.round == SiteRow.round))
            .order_by(SiteRow.name)
        )
        frames = (
            select(SiteRow.name, func.sum(SiteRoundRow.frames))
            .join(SiteRoundRow, in_its_last_run)
            .group_by(SiteRow.name)
        )
        with self._connection() as connection:
            in_all = {name: int(found or 0) for name, found in connection.execute(frames)}
            return [_site(row, in_all) for row in connection.execute(last)]

    def releases(self) -> list[ReleaseFacts]:
        """Every release, newest first."""
        query = select(ReleaseRow.__table__).order_by(ReleaseRow.created.desc(), ReleaseRow.version.desc())
        with self._connection() as connection:
            return [
                ReleaseFacts(**{**row._mapping, "created": iso(row.created)})
                for row in connection.execute(query)
            ]

    def events(
        self,
        after: int | None = None,
        before: int | None = None,
        kinds: Collection[str] = (),
        run: str | None = None,
        site: str | None = None,
        text: str | None = None,
        limit: int = 200,
    ) -> list[EventFacts]:
        """The log, newest first; with ``after``, what came after the event of this id, in order.

        Parameters
        ----------
        kinds : of :data:`~mien_server.history.kinds.KINDS`; all where there are none.
        text : something that the text contains, in whatever case.
        """
        query = select(EventRow.__table__).limit(limit)
        query = query.order_by(EventRow.id if after is not None else EventRow.id.desc())
        if after is not None:
            query = query.where(EventRow.id > after)
        if before is not None:
            query = query.where(EventRow.id < before)
        if kinds:
            query = query.where(EventRow.kind.in_(sorted(kinds)))
        if run is not None:
            query = query.where(EventRow.run == run)
        if site is not None:
            query = query.where(EventRow.site == site)
        if text:
            query = query.where(EventRow.text.icontains(text, autoescape=True))
        with self._connection() as connection:
            return [_event(row) for row in connection.execute(query)]

    def last_event(self) -> int:
        """The highest id of an event; 0 where there is none."""
        with self._connection() as connection:
            return int(connection.execute(select(func.max(EventRow.id))).scalar() or 0)

    def totals(self) -> TotalFacts:
        """Sums over all of it."""
        sums = select(func.count(), func.sum(RoundRow.bytes_up), func.sum(RoundRow.bytes_down))
        kinds = select(EventRow.kind, func.count()).group_by(EventRow.kind).order_by(EventRow.kind)
        with self._connection() as connection:
            rounds, up, down = connection.execute(sums.select_from(RoundRow)).one()
            events = {kind: int(count) for kind, count in connection.execute(kinds)}
        return TotalFacts(rounds=rounds, bytes_up=int(up or 0), bytes_down=int(down or 0), events=events)

    def seen(self) -> dt.datetime | None:
        """When the recorder last took up what there was."""
        with self._connection() as connection:
            return connection.execute(select(ServerRow.seen)).scalar()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        if not self._is_checked:
            self.check()
        with database_errors(self._url), self._engine.begin() as connection:
            yield connection


_LAST_ROUND = [
    getattr(SiteRoundRow, name) for name in ("frames", "update_norm", "loss", "valence_ccc", "arousal_ccc")
]


def iso(moment: dt.datetime) -> str:
    """A moment as facts give it: UTC, with milliseconds."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def _iso_or_none(moment: dt.datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _shared(row: Row[Any], facts: type[BaseModel]) -> dict[str, Any]:
    """What the row has of the facts."""
    return {name: row._mapping[name] for name in facts.model_fields if name in row._mapping}


def _run(row: Row[Any]) -> RunFacts:
    moments = {name: _iso_or_none(getattr(row, name)) for name in ("asked", "started", "ended", "not_before")}
    return RunFacts(**{**_shared(row, RunFacts), **moments, "behind": tuple(row.behind)})


def _round(row: Row[Any]) -> RoundFacts:
    def agreement(target: str) -> CccFacts:
        return CccFacts(
            pooled=getattr(row, f"{target}_pooled"),
            mean_over_recordings=getattr(row, f"{target}_mean"),
            worst_site=getattr(row, f"{target}_worst_site"),
            worst=getattr(row, f"{target}_worst"),
            spread=getattr(row, f"{target}_spread"),
        )

    return RoundFacts(
        run=row.run,
        round=row.round,
        time=iso(row.time),
        attempts=row.attempts,
        sites_asked=row.sites_asked,
        sites_answered=row.sites_answered,
        frames=row.frames,
        loss=LossFacts(
            mean=row.loss_mean, worst=row.loss_worst, worst_site=row.loss_worst_site, spread=row.loss_spread
        ),
        valence=agreement("valence"),
        arousal=agreement("arousal"),
        seconds=RoundSeconds(**{name: getattr(row, f"{name}_s") for name in RoundSeconds.model_fields}),
        bytes_up=row.bytes_up,
        bytes_down=row.bytes_down,
        epsilon=row.epsilon,
    )


def _site(row: Row[Any], frames_in_all: dict[str, int]) -> SiteFacts:
    moments = {name: _iso_or_none(getattr(row, name)) for name in ("last_seen", "error_time")}
    in_all = frames_in_all.get(row.name, 0)
    return SiteFacts(**{**_shared(row, SiteFacts), **moments, "frames_in_all": in_all})


def _event(row: Row[Any]) -> EventFacts:
    return EventFacts(**{**_shared(row, EventFacts), "time": iso(row.time)})
