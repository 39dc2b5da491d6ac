"""The doors to the history: who reads it, and whether a server may use what it was given.

Enters: a server's folder. Leaves: a :class:`~mien_server.history.reader.History`.
"""

from sqlalchemy import URL

from mien_server.folder import ServerFolder
from mien_server.history.connection import history_url, reader_engine
from mien_server.history.reader import History
from mien_server.history.revisions import check_usable

__all__ = ["check_history", "history_url", "open_history"]


def open_history(folder: ServerFolder) -> History:
    """The history of ``folder``, for who reads it. Whoever can wait makes a ``History(history_url(folder))``.

    Raises
    ------
    SettingsError
        The URL is none of a database that Mien can use.
    StorageError
        It is not there yet, of another version, or does not answer.
    """
    history = History(history_url(folder))
    try:
        history.check()
    except BaseException:
        history.close()
        raise
    return history


def check_history(folder: ServerFolder) -> URL:
    """Whether this server may keep its history where it is told to; where that is.

    Raises
    ------
    SettingsError
        The URL is none of a database that Mien can use.
    ForeignHistoryError
        It is of a newer Mien, or another server's: a server must not go on with it.
    StorageError
        It does not answer now, which need not hold up a server.
    """
    url = history_url(folder)
    engine = reader_engine(url)
    try:
        check_usable(engine, url, folder)
    finally:
        engine.dispose()
    return url
