"""How a server hands on the key that signs its releases: the key before signs for the next one.

    releases/release-keys.json   every key, oldest first; each but the first with the one before's signature

Enters: that file. Leaves: the newest key, for whoever trusts one of the earlier ones.
"""

import base64
import binascii
from typing import Annotated, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import TrustError
from mien_common.release import KEY_LIMIT_BYTES, fingerprint, public_pem, read_public_key

KEYS_FILE: Final = "release-keys.json"
KEYS_LIMIT_BYTES: Final = 128 * 1024
MOST_KEYS: Final = 200

_HEAD: Final = b"mien release key\n"
"""Signed with a key, so that the signature is none of an index or of a release."""


class HandedKey(BaseModel):
    """One key, and how it came to be the server's."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    public_key: Annotated[str, Field(max_length=KEY_LIMIT_BYTES)]
    """PEM."""
    since: Annotated[str, Field(max_length=64)]
    signature: Annotated[str, Field(max_length=100)] | None
    """By the key before, base64; None of the first."""


class ReleaseKeys(BaseModel):
    """What ``release-keys.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    keys: tuple[HandedKey, ...] = Field(min_length=1, max_length=MOST_KEYS, strict=False)


def first_key(key: Ed25519PublicKey, since: str) -> ReleaseKeys:
    """The list of a server that never had another key."""
    return ReleaseKeys(keys=(HandedKey(public_key=public_pem(key).decode(), since=since, signature=None),))


def hand_on(known: ReleaseKeys, old: Ed25519PrivateKey, new: Ed25519PublicKey, since: str) -> ReleaseKeys:
    """The list with ``new`` behind ``old``, its last one so far, which signs for it."""
    before, after = public_pem(old.public_key()).decode(), public_pem(new).decode()
    signature = base64.b64encode(old.sign(_statement(before, after, since))).decode()
    return ReleaseKeys(keys=(*known.keys, HandedKey(public_key=after, since=since, signature=signature)))


def read_keys(content: bytes) -> ReleaseKeys:
    """A ``release-keys.json``; no signature is checked yet.

    Raises
    ------
    TrustError
        It is damaged, or names a key twice.
    """
    try:
        found = ReleaseKeys.model_validate_json(content)
    except (ValidationError, RecursionError) as error:
        raise TrustError(f"{KEYS_FILE} is damaged. {_STAYS}") from error
    if len({each.public_key for each in found.keys}) != len(found.keys):
        raise TrustError(f"{KEYS_FILE} names a key twice. {_STAYS}")
    return found


def successor(content: bytes, trusted: Ed25519PublicKey) -> Ed25519PublicKey:
    """The newest key, if every key from ``trusted`` on signed for the one behind it.

    ``trusted`` itself where it is the newest.

    Raises
    ------
    TrustError
        ``trusted`` is not in the list, or a signature does not hold.
    """
    keys, pem = read_keys(content).keys, public_pem(trusted).decode()
    place = next((place for place, each in enumerate(keys) if each.public_key == pem), None)
    if place is None:
        raise TrustError(
            f"the server's list of its release keys does not have the one that this site trusts "
            f"({fingerprint(trusted)}). {_STAYS}"
        )
    key = trusted
    for before, after in zip(keys[place:], keys[place + 1 :], strict=False):
        try:
            signature = base64.b64decode(after.signature or "", validate=True)
            key.verify(signature, _statement(before.public_key, after.public_key, after.since))
        except (InvalidSignature, binascii.Error) as error:
            raise TrustError(
                f"somebody names a new release key for this server, and the key before, {fingerprint(key)}, "
                f"did not sign for it. {_STAYS}"
            ) from error
        key = read_public_key(after.public_key.encode(), KEYS_FILE)
    return key


def _statement(before: str, after: str, since: str) -> bytes:
    return _HEAD + f"{since}\n{before}{after}".encode()


_STAYS: Final = "Nothing was changed here; tell the server's operator if it stays so."
