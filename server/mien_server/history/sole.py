"""One recorder at a time in one database, also where a copy of a server's folder runs somewhere else.

Enters: the database. Leaves: a lock that ends with its holder, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Engine, text

from mien_common.errors import StorageError
from mien_common.files import storage_errors
from mien_server.history.connection import POSTGRESQL, PRIVATE, in_words

LOCK_KEY: Final = 0x6D69656F
"""Of PostgreSQL's advisory lock; beside that of a migration."""
_KEEPALIVE: Final = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
"""A machine that lost its power is noticed by PostgreSQL within a minute, and not after two hours."""


@contextmanager
def sole_recorder(engine: Engine, url: URL) -> Iterator[None]:
    """Hold the lock of the database.

    Raises
    ------
    StorageError
        Another recorder holds it.
    """
    with ExitStack() as held:
        is_ours = _postgresql(engine, held) if url.get_backend_name() == POSTGRESQL else _sqlite(url, held)
        if not is_ours:
            raise StorageError(
                f"another recorder writes into {in_words(url)}. Does a second server run on a copy of this "
                "folder? Stop one of them, or give each a database of its own."
            )
        yield


def _postgresql(engine: Engine, held: ExitStack) -> bool:
    # A connection that is given back to the pool would keep the lock: this one is closed at the end.
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    held.callback(connection.close)
    held.callback(connection.invalidate)
    for setting in _KEEPALIVE:
        connection.execute(text(f"SET {setting}"))
    return bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}).scalar())


def _sqlite(url: URL, held: ExitStack) -> bool:
    # A file beside it: one that SQLite has open must be neither opened nor closed by anybody else here.
    file = Path(f"{url.database}-recorder")
    with storage_errors(file):
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    held.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
