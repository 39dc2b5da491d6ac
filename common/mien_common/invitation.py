"""The code that an operator hands to a lab: where to join, whom to trust there, and a secret, on one line.

    mien.example.org:9094/0HJQ-4T7W-…-2NBK

Before the slash: the server's enrolment door. Behind it, in Crockford's base 32 (no I, L, O or U; upper or
lower case, groups as you like): version, secret, the first half of the SHA-256 of the server's authority,
and a checksum over all of it, the address included. Enters and leaves: text that a person may read out.
"""

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mien_common.errors import InputError

SECRET_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 16
"""128 bits: to pass for the server, an attacker needs a second authority with this same half of a SHA-256."""

_VERSION: Final = 1
_BYTES: Final = 1 + SECRET_BYTES + FINGERPRINT_BYTES + 2
_GROUP: Final = 4
_LONGEST: Final = 400
_RFC_4648: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_WRITE: Final = str.maketrans(_RFC_4648, _CROCKFORD)
_READ: Final = str.maketrans(_CROCKFORD, _RFC_4648)
_LOOKALIKES: Final = str.maketrans("ILO", "110", " -")
_HOST: Final = r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
_SHAPE: Final = re.compile(rf"(?P<host>{_HOST}):(?P<port>[0-9]{{1,5}})/(?P<rest>[0-9A-Za-z -]+)")


@dataclass(frozen=True)
class Invitation:
    """What a code says."""

    host: str
    """Name or address of the server; an IPv6 address stands in brackets."""
    port: int
    """Of the enrolment door."""
    fingerprint: bytes
    """The first 16 bytes of :func:`authority_digest`."""
    secret: bytes = field(repr=False)
    """Shown once, used once; never to be logged."""

    @property
    def address(self) -> str:
        """HOST:PORT of the enrolment door."""
        return f"{self.host}:{self.port}"

    def code(self) -> str:
        """The line to print."""
        payload = bytes([_VERSION]) + self.secret + self.fingerprint
        payload += _checksum(self.address, payload)
        text = base64.b32encode(payload).decode().rstrip("=").translate(_WRITE)
        groups = (text[start : start + _GROUP] for start in range(0, len(text), _GROUP))
        return f"{self.address}/{'-'.join(groups)}"


def new_secret() -> bytes:
    """A secret from the operating system's generator."""
    return secrets.token_bytes(SECRET_BYTES)


def secret_digest(secret: bytes) -> str:
    """What a server keeps of a secret, hex; with 128 random bits it needs no salt and no stretching."""
    return hashlib.sha256(b"mien-invitation\0" + secret).hexdigest()


def authority_digest(certificate_pem: bytes) -> bytes:
    """SHA-256 of a certificate authority's certificate (DER).

    Raises
    ------
    InputError
        It is not exactly one certificate; a second one would be trusted unseen.
    """
    try:
        (certificate,) = x509.load_pem_x509_certificates(certificate_pem)
    except ValueError as error:
        raise InputError("this is not one certificate in PEM form") from error
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def authority_fingerprint(certificate_pem: bytes) -> str:
    """The same for people: as `openssl x509 -fingerprint -sha256` prints it."""
    return authority_digest(certificate_pem).hex(":").upper()


def read_code(text: str) -> Invitation:
    """What a code says, after finding that nobody misread or mistyped it.

    Raises
    ------
    InputError
        It is no code, or a character of it is wrong.
    """
    line = text.strip()
    shape = _SHAPE.fullmatch(line) if len(line) <= _LONGEST else None
    if shape is None or not 1 <= int(shape["port"]) <= 65535:
        raise InputError(
            "this is not an invitation code: it looks like mien.example.org:9094/0HJQ-4T7W-… and is "
            "printed by `mien server invite`. Copy the whole line."
        )
    letters = shape["rest"].upper().translate(_LOOKALIKES)
    wanted = _BYTES * 8 // 5
    if len(letters) != wanted:
        raise InputError(
            f"the code was not copied whole: behind the slash there are {len(letters)} letters and digits, "
            f"and it takes {wanted}. Nothing was sent."
        )
    if "U" in letters:
        raise InputError("no code has the letter U. Compare it once more. Nothing was sent.")
    payload = base64.b32decode(letters.translate(_READ))
    invitation = Invitation(
        host=shape["host"].lower(),
        port=int(shape["port"]),
        secret=payload[1 : 1 + SECRET_BYTES],
        fingerprint=payload[1 + SECRET_BYTES : -2],
    )
    if _checksum(invitation.address, payload[:-2]) != payload[-2:]:
        raise InputError(
            "the code has a typing error: its checksum does not fit. Compare it letter by letter, the "
            "address too. Nothing was sent."
        )
    if payload[0] != _VERSION:
        raise InputError("the code is of another version of Mien. Install the version that the server has.")
    return invitation


def _checksum(address: str, payload: bytes) -> bytes:
    """CRC-16 (CCITT): finds every single wrong character, and every two neighbours that were swapped."""
    return binascii.crc_hqx(payload, binascii.crc_hqx(address.lower().encode(), 0xFFFF)).to_bytes(2, "big")
