"""The key that signs releases: Ed25519, made once, at ``mien server init`` or at its first use.

Leaves the machine: ``tls/release.pub``, by which sites recognise this server's releases. Never leaves:
``tls/release.key``, readable by its owner only. Lost, no site accepts another release before it was given the
new public key; copied, its holder can sign models that every site accepts.
"""

import contextlib
import datetime as dt
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mien_common.errors import InputError, TrustError
from mien_common.files import is_there, read_bounded, storage_errors, write_atomic
from mien_common.release import KEY_FILE, KEY_LIMIT_BYTES, public_pem, read_public_key
from mien_common.release_keys import KEYS_FILE, KEYS_LIMIT_BYTES, first_key, hand_on, read_keys, successor
from mien_server.folder import ServerFolder

PRIVATE_KEY_FILE: Final = "release.key"
NEXT_KEY_FILE: Final = "release.next.key"
PRIVATE: Final = 0o600


def release_key(tls: Path) -> Ed25519PrivateKey:
    """The key in ``tls``, made when there is none; ``release.pub`` lies beside it.

    Raises
    ------
    TrustError
        It is damaged, readable by others, or gone while its public half is there.
    """
    file, public = tls / PRIVATE_KEY_FILE, tls / KEY_FILE
    if not is_there(file):
        if is_there(public):
            raise TrustError(
                f"{file} is gone, and sites trust no other key. Put it back from a copy; or remove {public} "
                "too, and a new one is made, whose public half every site must be given."
            )
        key = Ed25519PrivateKey.generate()
        _write_once(file, _private_pem(key))
    key = _read(file)
    pem = public_pem(key.public_key())
    if not is_there(public) or read_bounded(public, KEY_LIMIT_BYTES) != pem:
        write_atomic(public, pem)
    return key


def former_keys(folder: ServerFolder) -> list[Ed25519PublicKey]:
    """The keys that signed releases before the present one, oldest first.

    Raises
    ------
    TrustError
        The list of them is damaged.
    """
    file = folder.releases / KEYS_FILE
    if not is_there(file):
        return []
    try:
        keys = read_keys(read_bounded(file, KEYS_LIMIT_BYTES)).keys
        present = public_pem(release_key(folder.tls).public_key()).decode()
        pems = [each.public_key for each in keys]
        return [read_public_key(pem.encode(), file) for pem in pems[: pems.index(present)]]
    except (InputError, TrustError, ValueError) as error:
        raise TrustError(
            f"{file} is damaged, or of another key than {PRIVATE_KEY_FILE}. Put it back from a copy: sites "
            "that trust a former key need it. If that key was lost and made anew, remove this file."
        ) from error


def change_release_key(folder: ServerFolder, now: dt.datetime) -> tuple[Ed25519PublicKey, Ed25519PublicKey]:
    """Make a new release key that the present one signs for; both public halves.

    To be called while releases are locked. Killed anywhere in between and called again, it goes on with the
    same new key.

    Raises
    ------
    TrustError
        The present key cannot be used, or the list of keys is damaged.
    StorageError
        There is no room.
    """
    old, coming = release_key(folder.tls), folder.tls / NEXT_KEY_FILE
    if not is_there(coming):
        _write_once(coming, _private_pem(Ed25519PrivateKey.generate()))
    new, file = _read(coming), folder.releases / KEYS_FILE
    since = now.astimezone(dt.UTC).isoformat(timespec="seconds")
    known = (
        read_keys(read_bounded(file, KEYS_LIMIT_BYTES))
        if is_there(file)
        else first_key(old.public_key(), since)
    )
    if known.keys[-1].public_key != public_pem(new.public_key()).decode():
        known = hand_on(known, old, new.public_key(), since)
        successor(known.model_dump_json().encode(), old.public_key())  # a list that no site could follow
        write_atomic(file, known.model_dump_json(indent=1).encode() + b"\n")
    with storage_errors(coming):
        coming.replace(folder.tls / PRIVATE_KEY_FILE)
    release_key(folder.tls)  # writes the public half
    return old.public_key(), new.public_key()


def published_key(tls: Path) -> str | None:
    """What ``release.pub`` holds, for a site that is let in; None where it is missing or damaged."""
    with contextlib.suppress(InputError, TrustError):
        file = tls / KEY_FILE
        return public_pem(read_public_key(read_bounded(file, KEY_LIMIT_BYTES), file)).decode()
    return None


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_once(file: Path, content: bytes) -> None:
    """Write ``file`` unless somebody else just did: two first uses at once agree on one key."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    write_atomic(draft, content, mode=PRIVATE)
    try:
        with storage_errors(file), contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _read(file: Path) -> Ed25519PrivateKey:
    try:
        content = read_bounded(file, KEY_LIMIT_BYTES)
        if file.stat().st_mode & 0o077:
            raise TrustError(f"{file} can be read by others. Run: chmod 600 {file}")
        key = serialization.load_pem_private_key(content, password=None)
    except (InputError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{file} is not a usable release key. Put it back from a copy.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError(f"{file} is a key of another kind. Put the release key back from a copy.")
    return key
