"""Sites' rows: what their last round said of them. Who is there now, :mod:`.presence` says."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from mien_server.history.journal_rows import SiteNews
from mien_server.history.tables import SiteRow


def write_news(connection: Connection, run: str, news: Iterable[Mapping[str, SiteNews]]) -> None:
    """Keep, of each site, the newest of ``news`` and what is known already.

    Journals are not read in the order of time: a run that was interrupted may be taken up after a later one.
    """
    changes: dict[str, dict[str, Any]] = {}
    for lines in news:
        for site, new in lines.items():
            values: dict[str, Any] = {"error": new.error, "error_time": new.time if new.error else None}
            if new.round is not None:
                values |= {"run": run, "round": new.round, "round_time": new.time}
            values |= {name: value for name, value in new.told.items() if value is not None}
            changes.setdefault(site, {}).update({**values, "_time": new.time})
    if not changes:
        return
    columns = (SiteRow.name, SiteRow.round_time, SiteRow.error_time)
    known = {
        row.name: max((time for time in (row.round_time, row.error_time) if time), default=None)
        for row in connection.execute(select(*columns).where(SiteRow.name.in_(changes)))
    }
    for site, values in changes.items():
        time: dt.datetime = values.pop("_time")
        if site not in known:
            connection.execute(insert(SiteRow), {**unknown(site), **values})
        elif (newest := known[site]) is None or newest <= time:
            connection.execute(update(SiteRow).where(SiteRow.name == site).values(**values))


def unknown(site: str) -> dict[str, Any]:
    """The row of a site of which only the name is known."""
    return {
        "name": site,
        "presence": "offline",
        "last_seen": None,
        "fingerprint": None,
        "run": None,
        "round": None,
        "round_time": None,
        "device": None,
        "version": None,
        "error": "",
        "error_time": None,
    }
