"""What a site's trust rests on, and when it ends: the server's certificate, its authority, the site's key."""

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from cryptography import x509

from mien_common.errors import InputError, TrustError
from mien_common.files import make_folder, read_bounded, write_atomic
from mien_common.validity import days_left, ends_soon, key_end

from .keys import key_written
from .site import Site
from .tls import NEW_AUTHORITY

_NOTE: Final = "server-certificate-ends"
_NOTE_BYTES: Final = 64


@dataclass(frozen=True)
class Ending:
    """Something that ends soon, or has ended."""

    what: Literal["certificate", "authority", "key"]
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found} → {self.remedy}"


def note_server_certificate(site: Site, ends: dt.datetime) -> None:
    """Remember when the server's certificate ends, for ``status``, which asks nobody."""
    make_folder(site.state, mode=0o700)
    if noted_server_certificate(site) != ends:
        write_atomic(site.state / _NOTE, ends.isoformat().encode())


def noted_server_certificate(site: Site) -> dt.datetime | None:
    """When the server's certificate ends, as it was last seen; None where it never was."""
    with suppress(InputError, ValueError):
        return dt.datetime.fromisoformat(read_bounded(site.state / _NOTE, _NOTE_BYTES).decode())
    return None


def authority_end(site: Site) -> dt.datetime | None:
    """When the authority in ``ca.crt`` ends; None where it cannot be read."""
    with suppress(TrustError, ValueError):
        return min(
            found.not_valid_after_utc for found in x509.load_pem_x509_certificates(site.root_certificate())
        )
    return None


def ends_of_trust(site: Site, now: dt.datetime) -> list[Ending]:
    """What ends within thirty days, or has ended."""
    found = []
    server, authority, written = noted_server_certificate(site), authority_end(site), key_written(site)
    if server is not None and ends_soon(server, now):
        found.append(
            Ending(
                "certificate",
                f"the server's certificate {days_left(server, now)}",
                "tell its operator: mien server init DIR --renew",
            )
        )
    if authority is not None and ends_soon(authority, now):
        found.append(
            Ending(
                "authority",
                f"the authority that this site trusts {days_left(authority, now)}",
                NEW_AUTHORITY[0].lower() + NEW_AUTHORITY[1:],
            )
        )
    if written is not None and ends_soon(key_end(written), now):
        found.append(
            Ending(
                "key",
                f"this site's key is of {written:%Y-%m-%d}; two years are enough for one",
                "mien agent rotate-key",
            )
        )
    return found
