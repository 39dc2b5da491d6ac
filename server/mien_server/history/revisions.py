"""The form of the history's tables: which revision a database has, and how it comes to ours.

Enters: a connection. Leaves: a database with our tables, or an error and a database as it was. Only the
recorder migrates; two at once wait for each other, and a migration is one transaction.
"""

import datetime as dt
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, Connection, Engine, insert, inspect, select, text

from mien_common.errors import ForeignHistoryError, InputError, StorageError
from mien_common.files import make_folder, read_bounded, write_atomic
from mien_server.folder import ServerFolder
from mien_server.history.connection import POSTGRESQL, database_errors, in_words
from mien_server.history.tables import ServerRow

if TYPE_CHECKING:  # a tenth of a second to load, and only who migrates needs it
    from alembic.config import Config

VERSION_TABLE: Final = "mien_revision"
"""Not alembic's usual name, which another program in the same database may have taken."""
LOCK_KEY: Final = 0x6D69656E
"""Of PostgreSQL's advisory lock around a migration; any number that nobody else uses ("mien")."""
ID_FILE: Final = "server-id"
ID_LIMIT_BYTES: Final = 256


def prepare(engine: Engine, url: URL, folder: ServerFolder, now: dt.datetime) -> None:
    """Bring the database to our form, and mark it as this server's; does nothing where both are so.

    Raises
    ------
    ForeignHistoryError
        A newer Mien wrote it, or it is another server's. Nothing was changed.
    StorageError
        It does not answer, or a migration failed; nothing half is left.
    """
    with database_errors(url), engine.begin() as connection:
        if connection.dialect.name == POSTGRESQL:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        revision = revision_of(connection)
        _check_known(revision, url)
        if revision is not None:
            _check_owner(connection, url, folder)
        if revision != head():
            _upgrade(connection)
        if connection.execute(select(ServerRow.id)).first() is None:
            row = {"id": 1, "folder_id": own_id(folder), "created": now, "seen": now}
            connection.execute(insert(ServerRow), row)


def check(engine: Engine, url: URL) -> None:
    """For who reads: raise unless the database has our form.

    Raises
    ------
    ForeignHistoryError
        A newer Mien wrote it.
    StorageError
        It is not there yet, of an older form, or does not answer.
    """
    if url.get_backend_name() != POSTGRESQL and not Path(url.database or "").exists():
        raise StorageError(f"there is no history yet, {url.database}: `mien server up` begins one.")
    with database_errors(url), engine.connect() as connection:
        revision = revision_of(connection)
    _check_known(revision, url)
    if revision is None:
        raise StorageError(f"there is no history yet in {in_words(url)}: `mien server up` begins one.")
    if revision != head():
        raise StorageError(
            f"the history in {in_words(url)} is an older Mien's ({revision}). Start the server, which brings "
            "it up to date: mien server up"
        )


def check_usable(engine: Engine, url: URL, folder: ServerFolder) -> None:
    """Raise ForeignHistoryError where a server must not use this database; StorageError where it is away."""
    if url.get_backend_name() != POSTGRESQL and not Path(url.database or "").exists():
        return
    with database_errors(url), engine.connect() as connection:
        revision = revision_of(connection)
        _check_known(revision, url)
        if revision is not None:
            _check_owner(connection, url, folder)


def revision_of(connection: Connection) -> str | None:
    """The revision of the tables; None where there are none of ours."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - ours
    return None if found is None else str(found)


def head() -> str:
    """The newest revision that this Mien knows."""
    return max(known_revisions())


@cache
def known_revisions() -> frozenset[str]:
    """Every revision that this Mien knows: ``migrations/versions/r0001_first.py`` makes the revision 0001."""
    found = (Path(__file__).parent / "migrations" / "versions").glob("r[0-9]*_*.py")
    return frozenset(file.name[1:].partition("_")[0] for file in found)


def own_id(folder: ServerFolder) -> str:
    """What tells this server from others, made once; a copy of the folder has it, too."""
    file = folder.state / ID_FILE
    try:
        found = read_bounded(file, ID_LIMIT_BYTES).decode("ascii", "replace").strip()
        return str(uuid.UUID(found))
    except (InputError, ValueError):
        if file.exists():
            raise StorageError(f"{file} is damaged. Put it back from a copy, or delete it.") from None
    make_folder(folder.state, mode=0o700)
    made = str(uuid.uuid4())
    write_atomic(file, f"{made}\n".encode(), mode=0o600)
    return made


def _check_known(revision: str | None, url: URL) -> None:
    if revision is not None and revision not in known_revisions():
        raise ForeignHistoryError(
            f"the history in {in_words(url)} was written by a newer Mien (revision {revision}; this one "
            f"knows {head()}). Nothing was changed. Install that Mien again, or give another database: "
            "`database` in server.toml, or MIEN_DATABASE_URL."
        )


def _check_owner(connection: Connection, url: URL, folder: ServerFolder) -> None:
    owner = connection.execute(select(ServerRow.folder_id)).scalar()
    if owner is not None and owner != own_id(folder):
        raise ForeignHistoryError(
            f"{in_words(url)} holds the history of another server ({owner}); this one is "
            f"{own_id(folder)}. Nothing was changed. Give each server a database of its own: `database` in "
            f"server.toml, or MIEN_DATABASE_URL. If it is this server's, and {folder.state} was lost, write "
            f"that number into {folder.state / ID_FILE}."
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    # ConfigParser's sign for a variable is no part of a path.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def differences(connection: Connection) -> list[Any]:
    """What alembic finds different between the database and our tables; empty where they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from mien_server.history.tables import Base

    options = {"version_table": VERSION_TABLE, "compare_type": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))
