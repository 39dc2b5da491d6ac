"""Connections to the history's database: SQLite in the server's folder, or PostgreSQL by one URL.

Enters: ``MIEN_DATABASE_URL``, else ``database`` of ``server.toml``, else ``state/history.db``. Leaves:
engines. A password leaves in no message and no log.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mien_common.errors import SettingsError, StorageError
from mien_common.files import storage_errors
from mien_server.folder import DATABASE_VARIABLE, ServerFolder

DATABASE_FILE: Final = "history.db"
BUSY_S: Final = 5.0
"""How long SQLite waits for another writer."""
CONNECT_S: Final = 5
"""How long PostgreSQL may take to answer."""
SILENCE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A machine without power or network is given up within half a minute; the URL may say otherwise."""
SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
DRIVER: Final = "postgresql+psycopg"
PRIVATE: Final = 0o600


def history_url(folder: ServerFolder) -> URL:
    """Where the history of ``folder`` is kept.

    Raises
    ------
    SettingsError
        What the operator gave is no URL of a database that Mien can use.
    """
    given = os.environ.get(DATABASE_VARIABLE, "")
    source = DATABASE_VARIABLE
    if not given:
        given, source = folder.settings.database, f"database in {folder.path / 'server.toml'}"
    if not given:
        return URL.create(SQLITE, database=str(folder.state / DATABASE_FILE))
    try:
        url = make_url(given)
    except (ArgumentError, ValueError) as error:
        # Not what was given: there may be a password in it.
        raise SettingsError(
            f"{source} is not the URL of a database. For PostgreSQL: postgresql+psycopg://USER@HOST/NAME; "
            "left empty, the history is kept in SQLite."
        ) from error
    backend = {"postgres": POSTGRESQL}.get(url.get_backend_name(), url.get_backend_name())
    if backend == POSTGRESQL:
        return url.set(drivername=DRIVER)
    if backend != SQLITE:
        raise SettingsError(
            f"{source} names a database of the kind {backend!r}. The history is kept in SQLite or "
            "PostgreSQL: postgresql+psycopg://USER@HOST/NAME."
        )
    if not url.database or url.database == ":memory:":
        raise SettingsError(f"{source} names no file. Give sqlite:////absolute/path/history.db, or nothing.")
    return URL.create(SQLITE, database=str(folder.path / url.database))


def in_words(url: URL) -> str:
    """A database for messages, without its password."""
    if url.get_backend_name() == SQLITE:
        return str(url.database)
    shown = url.set(drivername=POSTGRESQL, query={})  # a query can hold a password, too
    return shown.render_as_string(hide_password=True)


def writer_engine(url: URL) -> Engine:
    """For the one process that writes: its transactions hold SQLite's lock from their beginning.

    Makes SQLite's file, readable by its owner only, where there is none.

    Raises
    ------
    StorageError
        That file cannot be made, or the driver is not installed.
    """
    if url.get_backend_name() == SQLITE:
        path = Path(url.database or "")
        # One that is there is opened by SQLite alone: to close it would drop all of this process's
        # locks on it, and somebody else would take the file for unused and remove its journal.
        with storage_errors(path), suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
        return _sqlite_engine(path, "BEGIN IMMEDIATE")
    return _postgresql_engine(url)


def reader_engine(url: URL) -> Engine:
    """For those who only read: nothing is created, and nothing can be written.

    Raises
    ------
    StorageError
        The driver is not installed.
    """
    if url.get_backend_name() == SQLITE:
        # No pool: a file that was put back from a copy is seen at once.
        return _sqlite_engine(Path(url.database or ""), "BEGIN", read_only=True, poolclass=NullPool)
    return _postgresql_engine(url, read_only=True)


def file_of(url: URL) -> tuple[int, int] | None:
    """What tells SQLite's file from another one that is put in its place; None where there is none."""
    if url.get_backend_name() != SQLITE:
        return None
    try:
        found = Path(url.database or "").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def database_errors(url: URL) -> Iterator[None]:
    """Turn what a database says into a StorageError that says what to do."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StorageError(_said(url, error)) from error


def _said(url: URL, error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    said = (str(original).strip().splitlines() or [type(original).__name__])[0]
    for secret in {url.password, *(str(value) for value in url.query.values())}:
        if secret:
            said = said.replace(str(secret), "***")
    where = f"the database of the history, {in_words(url)}, cannot be used: {said}. "
    if url.get_backend_name() == SQLITE:
        damaged = "not a database" in said or "malformed" in said
        return where + (
            "Move it away; the server makes a new one from the journals of its runs."
            if damaged
            else "Is the disk full, or the file not this user's?"
        )
    return where + "Does PostgreSQL run, and is the URL right? The history catches up once it answers."


def _sqlite_engine(path: Path, begin: str, read_only: bool = False, **options: Any) -> Engine:
    def connect() -> sqlite3.Connection:
        # mode=rw: never make a file, which would be readable by others, or be no history at all.
        address = f"file:{quote(str(path))}?mode=rw"
        found = sqlite3.connect(
            address, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        found.execute("PRAGMA foreign_keys = ON")
        if read_only:
            found.execute("PRAGMA query_only = ON")
        else:
            found.execute("PRAGMA journal_mode = WAL")
            # Power that fails may take the last transactions along, whole: they are read again.
            found.execute("PRAGMA synchronous = NORMAL")
        return found

    url = URL.create(SQLITE, database=str(path))
    engine = create_engine(url, creator=connect, hide_parameters=True, **options)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _postgresql_engine(url: URL, read_only: bool = False) -> Engine:
    options = {"options": "-c default_transaction_read_only=on"} if read_only else {}
    silence = {name: value for name, value in SILENCE.items() if name not in url.query}
    creating: Callable[..., Engine] = create_engine
    try:
        engine = creating(
            url,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": CONNECT_S, "application_name": "mien", **silence, **options},
        )
        if read_only:  # what is written may take its time: a migration of a large history does
            from mien_server.history.patience import be_patient

            be_patient(engine)
        return engine
    except ImportError as error:
        raise StorageError(
            "the history is to be kept in PostgreSQL, whose driver is not installed. Install it: "
            "pip install 'mien[server,postgres]'"
        ) from error
