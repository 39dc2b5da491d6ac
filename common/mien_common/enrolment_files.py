"""Enrolment without a network: a request file goes from the site to the operator, a bundle comes back.

Neither holds a secret. Whoever carries them could exchange them, so both sides see fingerprints to compare.
"""

from pathlib import Path
from typing import Final, Literal, TypeVar

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.enrolment_messages import PublicKey, Signature
from mien_common.errors import InputError
from mien_common.files import read_bounded, write_atomic
from mien_common.site_name import SiteName

FILE_LIMIT_BYTES: Final = 64 * 1024


class SiteRequest(BaseModel):
    """A site asks to be enrolled, in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mien-request-1"] = "mien-request-1"
    name: SiteName
    public_key: PublicKey
    signature: Signature

    @staticmethod
    def statement(name: str, public_key: str) -> bytes:
        """What is signed."""
        return b"mien-request-1\0" + name.encode() + b"\0" + public_key.encode()


class SiteBundle(BaseModel):
    """What an approved site needs to join."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mien-bundle-1"] = "mien-bundle-1"
    name: SiteName
    public_key: PublicKey
    """The key that was enrolled."""
    server: str = Field(max_length=300)
    """HOST:PORT where agents connect; the site checks it as it does its own settings."""
    enrol_port: int = Field(ge=0, le=65535)
    releases_port: int | None = Field(default=None, ge=0, le=65535)
    """None in a bundle of an older server. The key of releases is not in here, where nobody compares it."""
    authority: str = Field(max_length=16 * 1024)
    """The server's certificate authority, PEM."""


Content = TypeVar("Content", SiteRequest, SiteBundle)


def read_enrolment_file(kind: type[Content], file: Path, remedy: str) -> Content:
    """A request or a bundle, checked.

    Raises
    ------
    InputError
        The file is missing, too large, damaged or of another kind; the message ends with ``remedy``.
    """
    try:
        found = kind.model_validate_json(read_bounded(file, FILE_LIMIT_BYTES))
        if isinstance(found, SiteBundle):
            (_only,) = x509.load_pem_x509_certificates(found.authority.encode())
    except InputError as error:
        raise InputError(f"{error}. {remedy}") from error
    except (ValidationError, ValueError, RecursionError) as error:
        what = "request" if kind is SiteRequest else "bundle"
        raise InputError(f"{file} is not a {what} of Mien, or is damaged. {remedy}") from error
    return found


def write_enrolment_file(content: SiteRequest | SiteBundle, file: Path) -> None:
    """Write a request or a bundle, whole."""
    write_atomic(file, content.model_dump_json(indent=2).encode() + b"\n")
