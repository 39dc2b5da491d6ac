"""The site's key pair on disk, and the key that is to become it.

A new key lies beside the old one until the server knows it, so that a crash or a lost answer costs nothing:
the same request is sent again with the same key. Never leaves: ``site.key``, ``next.key``.
"""

import datetime as dt
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mien_common.errors import InputError, StorageError, TrustError
from mien_common.files import is_there, make_folder, read_bounded, storage_errors, write_atomic
from mien_common.site_keys import KEY_LIMIT_BYTES, new_key, private_openssh, public_openssh
from mien_common.validity import written_at

from .site import Site


def pending_key(site: Site, purpose: str) -> ec.EllipticCurvePrivateKey:
    """The key that is to become the site's, for ``purpose``: the one kept from an earlier try, or a new one.

    Raises
    ------
    TrustError
        The kept key is damaged.
    StorageError
        The folder cannot be written.
    """
    folder = site.private_key_file.parent
    key_file, purpose_file = _next_files(site)
    make_folder(folder, mode=0o700)
    if is_there(key_file) and is_there(purpose_file) and purpose_file.read_text(errors="replace") == purpose:
        return _read_private(key_file)
    key = new_key()
    purpose_file.unlink(missing_ok=True)  # a crash between must not tie the old key to the new purpose
    write_atomic(key_file, private_openssh(key), mode=0o600)
    write_atomic(purpose_file, purpose.encode(), mode=0o600)
    return key


def kept_pending_key(site: Site, purpose: str) -> ec.EllipticCurvePrivateKey | None:
    """The key kept for ``purpose``; None where there is none."""
    key_file, purpose_file = _next_files(site)
    if not is_there(key_file) or not is_there(purpose_file):
        return None
    return _read_private(key_file) if purpose_file.read_text(errors="replace") == purpose else None


def adopt_pending_key(site: Site) -> None:
    """The pending key becomes the site's; the one before is gone.

    It stays pending too, until :func:`forget_pending_key`: a crash before a new site is whole must find it.
    """
    key = _read_private(_next_files(site)[0])
    write_atomic(site.private_key_file, private_openssh(key), mode=0o600)
    public = public_openssh(key.public_key())
    write_atomic(site.public_key_file, f"{public} {site.settings.name}\n".encode())
    with storage_errors(site.state):
        (site.state / "node-id").unlink(missing_ok=True)  # the server counts another key as another node


def forget_pending_key(site: Site) -> None:
    """There is no pending key any more."""
    key_file, purpose_file = _next_files(site)
    with storage_errors(key_file):
        purpose_file.unlink(missing_ok=True)
        key_file.unlink(missing_ok=True)


def key_written(site: Site) -> dt.datetime | None:
    """When the site's key was made; None where it has none."""
    try:
        return written_at(site.private_key_file)
    except OSError:
        return None


def _next_files(site: Site) -> tuple[Path, Path]:
    folder = site.private_key_file.parent
    return folder / "next.key", folder / "next.purpose"


def _read_private(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_ssh_private_key(read_bounded(file, KEY_LIMIT_BYTES), password=None)
    except (InputError, StorageError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{file} is damaged. Remove it and try again.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TrustError(f"{file} is damaged. Remove it and try again.")
    return key
