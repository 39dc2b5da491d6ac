"""What a site and the server's enrolment door say to each other, as JSON over TLS.

Every request is signed with the key it speaks of; what is signed starts with the request's kind, so that a
signature of one kind is worthless for another. A site sends its public key and nothing about anybody.
"""

import datetime as dt
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from mien_common.invitation import secret_digest
from mien_common.release import KEY_LIMIT_BYTES
from mien_common.site_name import SiteName

BODY_LIMIT_BYTES: Final = 16 * 1024
"""Longest request and longest reply."""
REQUEST_VALID_S: Final = 300
"""How far a standing request's time may lie from the server's."""
DEFAULT_ENROL_PORT: Final = 9094
DEFAULT_RELEASES_PORT: Final = 9095

AUTHORITY_PATH: Final = "/v1/authority"
ENROL_PATH: Final = "/v1/enrol"
ROTATE_PATH: Final = "/v1/rotate"
STANDING_PATH: Final = "/v1/standing"
HEALTH_PATH: Final = "/v1/health"

PublicKey = Annotated[str, Field(pattern=r"^ecdsa-sha2-nistp(256|384|521) [A-Za-z0-9+/]{50,400}={0,2}$")]
"""OpenSSH's form on one line, without a comment."""
Signature = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{60,300}={0,2}$")]
Secret = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Reply(_Message):
    # A later server may say more than this version knows; a request may not.
    model_config = ConfigDict(extra="ignore")


class EnrolRequest(_Message):
    """A site asks to be enrolled with an invitation's secret."""

    secret: Secret = Field(repr=False)
    public_key: PublicKey
    name: SiteName | None = None
    """What the site calls itself, where it has a name already."""
    signature: Signature

    @staticmethod
    def statement(secret: bytes, public_key: str) -> bytes:
        """What is signed."""
        return b"mien-enrol-1\0" + secret_digest(secret).encode() + b"\0" + public_key.encode()


class EnrolReply(_Reply):
    """The site is enrolled."""

    name: SiteName
    port: int = Field(ge=1, le=65535)
    """Where agents connect, on the same host."""
    mien_version: str = Field(max_length=64)
    release_key: str | None = Field(default=None, max_length=KEY_LIMIT_BYTES)
    """The server's ``release.pub``, by which the site knows its releases; None while it has none."""
    releases_port: int | None = Field(default=None, ge=0, le=65535)
    """Where it hands out releases, on the same host; 0 for nowhere, None from a server that does not say."""


class RotateRequest(_Message):
    """An enrolled site asks to be known by a new key; both keys sign."""

    old_key: PublicKey
    new_key: PublicKey
    old_signature: Signature
    new_signature: Signature

    @staticmethod
    def statement(old_key: str, new_key: str) -> bytes:
        """What is signed, by both."""
        return b"mien-rotate-1\0" + old_key.encode() + b"\0" + new_key.encode()


class RotateReply(_Reply):
    """The new key is the site's key."""

    name: SiteName


class StandingRequest(_Message):
    """A site asks how it stands."""

    public_key: PublicKey
    time: dt.datetime
    """The server's time, as it last told it."""
    signature: Signature

    @staticmethod
    def statement(public_key: str, time: dt.datetime) -> bytes:
        """What is signed."""
        return b"mien-standing-1\0" + public_key.encode() + b"\0" + time.isoformat().encode()


class StandingReply(_Reply):
    """How a site stands, told to the holder of its key only."""

    name: SiteName
    state: Literal["enrolled", "revoked"]
    mien_version: str = Field(max_length=64)
    flwr_version: str = Field(max_length=64)


class Refusal(_Reply):
    """Why not, in a sentence for a person."""

    error: str = Field(max_length=500)
