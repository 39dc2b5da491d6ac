"""The releases that there are, as rows; read again when something in ``DIR/releases`` changed."""

import datetime as dt
from typing import Any, Final

from sqlalchemy import Engine, delete, insert, select, update

from mien_server.facts import ReleaseFacts
from mien_server.folder import ServerFolder
from mien_server.history.journal_rows import Row, moment
from mien_server.history.tables import ReleaseRow
from mien_server.publishing.catalogue import Catalogue

SETTLED: Final = dt.timedelta(seconds=2)
"""A folder that changed so recently may change again within the same tick of its clock."""


class ReleasesIntake:
    """Keeps the table as the folder is: what was removed there is removed here; the log knows of it."""

    def __init__(self, engine: Engine, folder: ServerFolder) -> None:
        self._engine, self._folder = engine, folder
        self._catalogue = Catalogue(folder)
        self._changed: int | None = None
        with engine.begin() as connection:
            rows = connection.execute(select(ReleaseRow.__table__))
            self._rows: dict[str, dict[str, Any]] = {row.version: dict(row._mapping) for row in rows}

    def look(self, now: dt.datetime) -> None:
        """Take up what is new."""
        try:
            changed = self._folder.releases.stat().st_mtime_ns
        except OSError:
            changed = 0
        if changed == self._changed:
            return
        found = {row["version"]: row for row in map(_row, self._catalogue.releases())}
        with self._engine.begin() as connection:
            for version in self._rows.keys() - found.keys():
                connection.execute(delete(ReleaseRow).where(ReleaseRow.version == version))
            for version, row in found.items():
                if version not in self._rows:
                    connection.execute(insert(ReleaseRow), row)
                elif row != self._rows[version]:
                    connection.execute(update(ReleaseRow).where(ReleaseRow.version == version).values(**row))
        self._rows = found
        is_settled = now.timestamp() - changed / 1e9 > SETTLED.total_seconds()
        self._changed = changed if is_settled else None


def _row(release: ReleaseFacts) -> Row:
    return {**release.model_dump(), "created": moment(release.created)}
