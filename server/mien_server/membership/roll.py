"""The roll: every site that was enrolled, and every invitation that is open, in one file, ``sites.json``.

One file, written whole or not at all: an invitation is marked as used and its site enrolled in the same
moment, so no crash can come between. Who changes it holds its lock: commands, ``up`` and the door may meet.
"""

import datetime as dt
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import InputError, SettingsError
from mien_common.files import read_bounded, storage_errors, write_atomic
from mien_server.folder import ServerFolder

ROLL_LIMIT_BYTES: Final = 16 * 1024 * 1024
FORGET: Final = dt.timedelta(days=7)
"""An invitation is forgotten so long after it ended; until then `mien server sites` can say that it did."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Site(_Record):
    """One site, enrolled or revoked."""

    name: str
    public_key: str
    """OpenSSH form, without a comment."""
    fingerprint: str
    """As ``ssh-keygen -l`` prints it."""
    node_id: int | None = None
    """Flower's number for it; None until the server has run since its enrolment."""
    key_since: AwareDatetime | None = None
    """When this key was enrolled; None in folders older than this field."""
    former_keys: tuple[str, ...] = ()
    """What it was known by before, oldest first; they stay refused."""
    revoked: AwareDatetime | None = None
    """Since when it is refused."""


class Invite(_Record):
    """An invitation that was given out."""

    name: str
    """The one site that it lets in."""
    secret_digest: str = Field(repr=False)
    """SHA-256 of its secret, which is kept nowhere."""
    created: AwareDatetime
    expires: AwareDatetime
    used_by: str | None = None
    """The key that it enrolled, OpenSSH form."""

    def holds(self, now: dt.datetime) -> bool:
        """Whether it has begun and not ended; a clock that was put back does not make it last longer."""
        return self.created - dt.timedelta(minutes=5) <= now < self.expires


class Roll(_Record):
    """What ``sites.json`` holds."""

    sites: tuple[Site, ...] = ()
    invites: tuple[Invite, ...] = ()

    @property
    def enrolled(self) -> tuple[Site, ...]:
        """The sites that may join."""
        return tuple(site for site in self.sites if site.revoked is None)

    def site(self, name: str) -> Site | None:
        """The enrolled site of this name."""
        return next((site for site in self.enrolled if site.name == name), None)

    def holder(self, public_key: str) -> Site | None:
        """The site, enrolled or revoked, that has this key or had it once."""
        return next((s for s in self.sites if public_key in (s.public_key, *s.former_keys)), None)

    @property
    def refused_keys(self) -> tuple[str, ...]:
        """Every key that was revoked or changed."""
        gone = (site.public_key for site in self.sites if site.revoked is not None)
        return (*gone, *(key for site in self.sites for key in site.former_keys))

    def with_site(self, site: Site) -> "Roll":
        """With ``site`` in the place of the enrolled one of its name."""
        others = (kept for kept in self.sites if kept.name != site.name or kept.revoked is not None)
        return self.model_copy(update={"sites": (*others, site)})

    def without_invites(self, name: str) -> "Roll":
        """Without the invitations of ``name`` that nobody has used."""
        return self.model_copy(
            update={"invites": tuple(i for i in self.invites if i.name != name or i.used_by is not None)}
        )


@dataclass
class OpenRoll:
    """The roll while its lock is held."""

    folder: ServerFolder
    roll: Roll

    def save(self, roll: Roll, now: dt.datetime) -> None:
        """Write the roll, in order and without invitations that ended long ago; only where it changed."""
        invites = tuple(invite for invite in roll.invites if now - invite.expires < FORGET)
        ordered = Roll(
            sites=tuple(sorted(roll.sites, key=lambda site: (site.name, site.revoked is None))),
            invites=tuple(sorted(invites, key=lambda invite: (invite.name, invite.created))),
        )
        if ordered != self.roll:
            write_atomic(
                self.folder.sites_file, ordered.model_dump_json(indent=2).encode() + b"\n", mode=0o600
            )
        self.roll = ordered


def read_roll(folder: ServerFolder) -> Roll:
    """The roll as it is now.

    Raises
    ------
    SettingsError
        ``sites.json`` is damaged.
    """
    file = folder.sites_file
    if not file.exists():
        return Roll()
    try:
        return Roll.model_validate_json(read_bounded(file, ROLL_LIMIT_BYTES))
    except (InputError, ValidationError) as error:
        raise SettingsError(
            f"{file} is damaged: {error}. Put it back from a copy, or delete it and enrol every site again."
        ) from error


@contextmanager
def locked_roll(folder: ServerFolder) -> Iterator[OpenRoll]:
    """The roll, to be changed; one at a time."""
    file = folder.state / "sites.lock"
    with storage_errors(file):
        lock = file.open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield OpenRoll(folder, read_roll(folder))
