"""The dashboard's two tokens, one per role: made here, shown once, and kept as hashes only.

Enters: an operator's wish for a token. Leaves: the token, once, to who asked; ``state/dashboard_tokens.json``
with SHA-256 of each. A token is 256 random bits, so a plain hash is enough: there is nothing to guess.
"""

import datetime as dt
import fcntl
import hashlib
import hmac
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import InputError
from mien_common.files import make_folder, read_bounded, storage_errors, write_atomic
from mien_server.facts import Role
from mien_server.folder import ServerFolder

TOKENS_FILE: Final = "dashboard_tokens.json"
TOKENS_LIMIT_BYTES: Final = 16 * 1024
TOKEN_BYTES: Final = 32
LONGEST_TOKEN: Final = 256

log = logging.getLogger(__name__)


class Kept(BaseModel):
    """What is kept of a token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    made: AwareDatetime


class KeptTokens(BaseModel):
    """``dashboard_tokens.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operator: Kept | None = None
    viewer: Kept | None = None

    def of(self, role: Role) -> Kept | None:
        """What is kept of the token of ``role``; None where it has none."""
        return self.operator if role == "operator" else self.viewer


def new_token(folder: ServerFolder, role: Role, now: dt.datetime) -> str:
    """A new token of ``role``; the one before it, and every session that it opened, counts no longer.

    Raises
    ------
    StorageError
        It cannot be kept.
    """
    with _locked(folder):
        return _make(folder, role, now)


def first_token(folder: ServerFolder, now: dt.datetime) -> str | None:
    """The operator's first token; None where there has been one already."""
    with _locked(folder):
        return None if tokens_file(folder).exists() else _make(folder, "operator", now)


def tokens_file(folder: ServerFolder) -> Path:
    """Where the hashes are."""
    return folder.state / TOKENS_FILE


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


class Tokens:
    """The tokens that count now; one that was made meanwhile counts at once."""

    def __init__(self, folder: ServerFolder) -> None:
        self._file = tokens_file(folder)
        self._read: tuple[tuple[int, int] | None, KeptTokens] = (None, KeptTokens())

    def role_of(self, token: str) -> Role | None:
        """Whose token it is; None where nobody's. Takes as long for a wrong one as for a right one."""
        kept, digest = self._now(), digest_of(token[:LONGEST_TOKEN])
        found: Role | None = None
        roles: tuple[Role, ...] = ("viewer", "operator")
        for role in roles:
            one = kept.of(role)
            if hmac.compare_digest(one.sha256 if one else "", digest):
                found = role
        return found

    def digest(self, role: Role) -> str | None:
        """What is kept of the token of ``role``; a session counts as long as this stays."""
        one = self._now().of(role)
        return one.sha256 if one else None

    def _now(self) -> KeptTokens:
        try:
            found = self._file.stat()
        except OSError:
            return KeptTokens()
        stamp = (found.st_ino, found.st_mtime_ns)  # replaced whole, so a new one is another file
        if self._read[0] != stamp:
            self._read = (stamp, _read(self._file))
        return self._read[1]


def _make(folder: ServerFolder, role: Role, now: dt.datetime) -> str:
    file, token = tokens_file(folder), secrets.token_urlsafe(TOKEN_BYTES)
    before = _read(file) if file.exists() else KeptTokens()
    kept = before.model_copy(update={role: Kept(sha256=digest_of(token), made=now)})
    write_atomic(file, kept.model_dump_json(indent=2).encode() + b"\n", mode=0o600)
    return token


def _read(file: Path) -> KeptTokens:
    try:
        return KeptTokens.model_validate_json(read_bounded(file, TOKENS_LIMIT_BYTES))
    except (InputError, ValidationError):
        log.error("event=tokens_damaged file=%s remedy='mien server token'", file)
        return KeptTokens()


@contextmanager
def _locked(folder: ServerFolder) -> Iterator[None]:
    make_folder(folder.state, mode=0o700)
    file = folder.state / "dashboard_tokens.lock"
    with storage_errors(file), file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
