"""The key that signs releases: Ed25519, made once, at ``mien server init`` or at its first use.

Leaves the machine: ``tls/release.pub``, by which sites recognise this server's releases. Never leaves:
``tls/release.key``, readable by its owner only. Lost, no site accepts another release before it was given the
new public key; copied, its holder can sign models that every site accepts.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mien_common.errors import InputError, TrustError
from mien_common.files import is_there, read_bounded, storage_errors, write_atomic
from mien_common.release import KEY_FILE, KEY_LIMIT_BYTES, public_pem, read_public_key

PRIVATE_KEY_FILE: Final = "release.key"
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
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write_once(file, private)
    key = _read(file)
    pem = public_pem(key.public_key())
    if not is_there(public) or read_bounded(public, KEY_LIMIT_BYTES) != pem:
        write_atomic(public, pem)
    return key


def published_key(tls: Path) -> str | None:
    """What ``release.pub`` holds, for a site that is let in; None where it is missing or damaged."""
    with contextlib.suppress(InputError, TrustError):
        file = tls / KEY_FILE
        return public_pem(read_public_key(read_bounded(file, KEY_LIMIT_BYTES), file)).decode()
    return None


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
