"""Who is logged in to the page: sessions behind a cookie, kept through a restart of the dashboard.

Enters: a role whose token was right. Leaves: a random key for the cookie, of which only SHA-256 is kept, in
``state/dashboard_sessions.json``. A session ends after twelve hours, when it is closed, or with its token.
"""

import datetime as dt
import logging
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mien_common.errors import InputError, StorageError
from mien_common.files import read_bounded, write_atomic
from mien_server.facts import Role
from mien_server.folder import ServerFolder
from mien_server.web.dashboard.tokens import LONGEST_TOKEN, Tokens, digest_of

SESSIONS_FILE: Final = "dashboard_sessions.json"
SESSIONS_LIMIT_BYTES: Final = 256 * 1024
SESSION_LASTS: Final = dt.timedelta(hours=12)
MOST_SESSIONS: Final = 200
"""The one that ends first makes room for another."""
KEY_BYTES: Final = 32

log = logging.getLogger(__name__)


class Session(BaseModel):
    """Somebody who is logged in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    ends: AwareDatetime
    token: str
    """SHA-256 of the token that opened it."""


_Sessions = TypeAdapter(dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], Session])


class Sessions:
    """All sessions, by the hash of their key.

    Parameters
    ----------
    clock : the time, in UTC.
    """

    def __init__(self, folder: ServerFolder, tokens: Tokens, clock: Callable[[], dt.datetime]) -> None:
        self._file = folder.state / SESSIONS_FILE
        self._tokens, self._clock = tokens, clock
        self._lock = threading.Lock()
        self._sessions = self._kept()

    def open(self, role: Role) -> str:
        """The key of a new session of ``role``."""
        key, now = secrets.token_urlsafe(KEY_BYTES), self._clock()
        session = Session(role=role, ends=now + SESSION_LASTS, token=self._tokens.digest(role) or "")
        with self._lock:
            lasting = {digest: one for digest, one in self._sessions.items() if self._counts(one)}
            while len(lasting) >= MOST_SESSIONS:
                del lasting[min(lasting, key=lambda digest: lasting[digest].ends)]
            self._sessions = {**lasting, digest_of(key): session}
            self._keep()
        return key

    def find(self, key: str) -> Session | None:
        """The session with this key; None where there is none, or it has ended."""
        session = self._sessions.get(digest_of(key[:LONGEST_TOKEN]))
        return session if session is not None and self._counts(session) else None

    def close(self, key: str) -> None:
        """End a session, if there is one with this key."""
        with self._lock:
            self._sessions = {
                digest: one for digest, one in self._sessions.items() if digest != digest_of(key)
            }
            self._keep()

    def _counts(self, session: Session) -> bool:
        return self._clock() < session.ends and self._tokens.digest(session.role) == session.token

    def _kept(self) -> dict[str, Session]:
        if not self._file.exists():
            return {}
        try:
            return _Sessions.validate_json(read_bounded(self._file, SESSIONS_LIMIT_BYTES))
        except (InputError, ValidationError):
            log.warning("event=sessions_damaged file=%s: everybody logs in again", self._file)
            return {}

    def _keep(self) -> None:
        """Onto the disk; where it is full they last as long as this process, so that an operator can look."""
        try:
            write_atomic(self._file, _Sessions.dump_json(self._sessions) + b"\n", mode=0o600)
        except StorageError as error:
            log.warning("event=sessions_not_kept reason=%s", error)
            with suppress(OSError):  # what it says is old: a session that was closed must not come back
                self._file.unlink(missing_ok=True)
