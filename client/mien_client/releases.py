"""Releases at a site: fetched, verified, kept; the last good one stays until a better one is whole.

Enters: a signed index, and a release's files. Stays here: ``releases/<version>/`` and the link
``releases/current``. Nothing of the site leaves. Nothing is loaded before its signature, its hashes, its
sizes and its schema hold.
"""

import hashlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mien_common.errors import FederationError, InputError, MienError, ModelError, TrustError
from mien_common.files import (
    is_there,
    make_folder,
    new_folder,
    read_bounded,
    sole_writer,
    storage_errors,
    write_atomic,
)
from mien_common.published import ModelCard, read_card, read_published
from mien_common.release import (
    FILE_LIMITS_BYTES,
    INDEX_FILE,
    INDEX_LIMIT_BYTES,
    KEY_FILE,
    KEY_LIMIT_BYTES,
    SIGNATURE_BYTES,
    SIGNATURE_FILE,
    SUMS_FILE,
    SUMS_LIMIT_BYTES,
    IndexEntry,
    ReleaseIndex,
    fingerprint,
    public_pem,
    read_public_key,
    verified_index,
    verified_sums,
)
from mien_common.release_keys import KEYS_FILE, KEYS_LIMIT_BYTES, successor
from mien_common.release_version import ReleaseVersion, parse_version
from mien_common.schema import AU_V1
from mien_common.weights import Weights

from .release_source import ReleaseSource
from .site import Site, read_release_key, read_release_keys

CURRENT: Final = "current"
READ_ONLY: Final = 0o444

Keys = tuple[Ed25519PublicKey, ...]
"""The one that signs now, and those before it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """What :func:`fetch` did."""

    version: ReleaseVersion
    path: Path
    before: ReleaseVersion | None
    """The release in use until now."""
    downloaded: bool
    new_key: str | None
    """Fingerprint of the key this site trusts from now on; None where that is the one it had."""
    former_key: str | None
    """Fingerprint of the key that it trusted until now, and that signed for the new one."""


def fetch(
    site: Site, source: ReleaseSource, wanted: ReleaseVersion | None, *, own: bool, allow_downgrade: bool
) -> Fetched:
    """Bring a release to the site and make it the current one.

    Parameters
    ----------
    wanted : None for the latest.
    own : whether ``source`` is the site's own server, which may say what key it signs with.

    Raises
    ------
    TrustError
        A signature, a hash, a size or a name does not hold, or there is no key to check with.
    ModelError
        It is of another schema, or lower than the current one, or its weights do not fit.
    FederationError
        The server is out of reach, or has no such release.
    StorageError
        There is no room.
    """
    make_folder(site.releases, mode=0o700)
    make_folder(site.state, mode=0o700)
    with sole_writer(site.releases, site.state / "fetch.lock"):
        known, is_new = _key(site, source, own)
        index, key = _index(source, known)
        former = tuple(read_public_key(pem.encode(), INDEX_FILE) for pem in index.former_keys)
        _trust(site, key, former)
        entry = _choose(index, wanted)
        version, before = parse_version(entry.version), current_version(site)
        if before is not None and version < before and not allow_downgrade:
            raise ModelError(
                f"release {version} is lower than {before}, which this site uses. If that is meant, give "
                "--allow-downgrade."
            )
        if entry.schema_name != AU_V1.name:
            raise ModelError(
                f"release {version} was trained on the schema {entry.schema_name!r}, this agent makes "
                f"{AU_V1.name!r}. Fetch another version, or bring this agent up to date."
            )
        path = site.releases / entry.version
        there = _is_there_and_whole(path, entry, (key, *former))
        if not there:
            _download(source, path, entry, (key, *former))
        _make_current(site, path)
        return Fetched(
            version,
            path,
            before,
            not there,
            new_key=fingerprint(key) if is_new or key != known else None,
            former_key=fingerprint(known) if key != known else None,
        )


def current_version(site: Site) -> ReleaseVersion | None:
    """The release in use, also when somebody has removed its folder; None before the first."""
    try:
        return parse_version((site.releases / CURRENT).readlink().name)
    except (OSError, InputError):
        return None


def read_model(path: Path, site: Site | None) -> tuple[ModelCard, Weights]:
    """Card and weights of a published model; of a release that ``site`` fetched, once its signature holds.

    Raises
    ------
    TrustError
        A release is not as it was signed.
    ModelError
        Something is missing or damaged, or the schema is not ours.
    """
    if site is not None and is_there(path) and is_there(site.release_key_file):
        folder = path.resolve() if path.is_dir() else path.resolve().parent
        if folder.parent == site.releases.resolve():
            check_held(folder, *read_release_keys(site))
            path = folder
    return read_published(path)


def check_held(path: Path, *keys: Ed25519PublicKey) -> str:
    """SHA-256 of the list of the release in ``path``, once every file is as it was signed.

    Raises
    ------
    TrustError
        One is not.
    """
    try:
        sums = read_bounded(path / SUMS_FILE, SUMS_LIMIT_BYTES)
        signature = read_bounded(path / SIGNATURE_FILE, SIGNATURE_BYTES)
        for name, digest in verified_sums(sums, signature, path.name, *keys).items():
            if hashlib.sha256(read_bounded(path / name, FILE_LIMITS_BYTES[name])).hexdigest() != digest:
                raise TrustError(f"{name} is not what was signed.")
    except (InputError, TrustError) as error:
        raise TrustError(
            f"release {path.name} in {path} is damaged: {error} `mien agent fetch {path.name}` mends it."
        ) from error
    return hashlib.sha256(sums).hexdigest()


def _key(site: Site, source: ReleaseSource, own: bool) -> tuple[Ed25519PublicKey, bool]:
    """The key that this site trusts, and whether it only now learnt it."""
    if is_there(site.release_key_file):
        return read_release_key(site.release_key_file), False
    if not own:
        raise TrustError(
            f"this site does not know the key that signs releases, and {source.host} is not its server. Give "
            "--release-key with the server's tls/release.pub, from its operator."
        )
    return read_public_key(source.content(KEY_FILE, KEY_LIMIT_BYTES), f"what {source.host} gave"), True


def _index(source: ReleaseSource, known: Ed25519PublicKey) -> tuple[ReleaseIndex, Ed25519PublicKey]:
    """The index, and the key that signed it: the known one, or one that it was handed on to."""
    content = source.content(INDEX_FILE, INDEX_LIMIT_BYTES)
    try:
        return verified_index(content, known), known
    except TrustError as refusal:
        try:
            listed = source.content(KEYS_FILE, KEYS_LIMIT_BYTES)
        except FederationError:  # a server that never changed its key
            raise refusal from None
        key = successor(listed, known)
        if key == known:
            raise
        return verified_index(content, key), key


def _trust(site: Site, key: Ed25519PublicKey, former: Keys) -> None:
    """Remember whose releases this site takes; the former keys first, by which it knows what it has."""
    if former:
        write_atomic(site.former_release_keys_file, b"".join(public_pem(each) for each in former))
    if not is_there(site.release_key_file) or read_release_key(site.release_key_file) != key:
        write_atomic(site.release_key_file, public_pem(key))


def _choose(index: ReleaseIndex, wanted: ReleaseVersion | None) -> IndexEntry:
    name = str(wanted) if wanted is not None else index.latest
    entry = index.entry(name) if name is not None else None
    if entry is None:
        known = ", ".join(entry.version for entry in index.releases[-8:]) or "none"
        what = f"no release {wanted}" if wanted is not None else "no latest release"
        raise ModelError(f"the server has {what}. It has: {known}.")
    return entry


def _is_there_and_whole(path: Path, entry: IndexEntry, keys: Keys) -> bool:
    if not is_there(path):
        return False
    try:
        held = check_held(path, *keys)
    except TrustError as error:
        log.warning("event=release_fetched_again reason=%s", error)
        shutil.rmtree(path, ignore_errors=True)
        return False
    if held != entry.sums_sha256:
        raise TrustError(
            f"the server's release {entry.version} is another one than the release {entry.version} that this "
            "site has, and both are signed. A release never changes: ask the server's operator which holds."
        )
    return True


def _download(source: ReleaseSource, path: Path, entry: IndexEntry, keys: Keys) -> None:
    version = entry.version
    sums = source.content(f"{version}/{SUMS_FILE}", SUMS_LIMIT_BYTES)
    signature = source.content(f"{version}/{SIGNATURE_FILE}", SIGNATURE_BYTES)
    hashes = verified_sums(sums, signature, version, *keys)
    if hashlib.sha256(sums).hexdigest() != entry.sums_sha256:
        raise TrustError(
            f"{SUMS_FILE} of release {version} is not the one in the index. Nothing was changed here; fetch "
            "again later, and tell the server's operator if it stays so."
        )
    with new_folder(path) as draft:
        # The card first: the large files are not worth it if it is not one we can use.
        for name in sorted(FILE_LIMITS_BYTES, key=lambda name: name != "card.json"):
            _save(source, draft / name, version, entry.bytes[name], hashes[name])
            if name == "card.json":
                _check_card(draft, version)
        write_atomic(draft / SUMS_FILE, sums, mode=READ_ONLY)
        write_atomic(draft / SIGNATURE_FILE, signature, mode=READ_ONLY)
        try:
            read_published(draft)
        except MienError as error:
            raise ModelError(
                f"release {version} cannot be used: {str(error).replace(str(draft), 'it')}"
            ) from error


def _save(source: ReleaseSource, file: Path, version: str, size_bytes: int, digest: str) -> None:
    found = hashlib.sha256()
    with storage_errors(file):
        opened = file.open("xb")
    with opened:
        for piece in source.pieces(f"{version}/{file.name}", size_bytes):
            found.update(piece)
            with storage_errors(file):
                opened.write(piece)
        with storage_errors(file):
            opened.flush()
            os.fsync(opened.fileno())
            os.fchmod(opened.fileno(), READ_ONLY)
    if found.hexdigest() != digest:
        raise TrustError(
            f"{file.name} of release {version} is not what was signed. Nothing was changed here; fetch again "
            "later, and tell the server's operator if it stays so."
        )


def _check_card(draft: Path, version: str) -> None:
    card = read_card(draft)
    said = card.release.version if card.release is not None else "none"
    if said != version:
        raise TrustError(f"the card of release {version} says that it is {said}. Tell the server's operator.")


def _make_current(site: Site, path: Path) -> None:
    draft = site.releases / f".{CURRENT}.{os.getpid()}"
    with storage_errors(site.releases / CURRENT):
        draft.unlink(missing_ok=True)
        draft.symlink_to(path.name)
        draft.replace(site.releases / CURRENT)  # a rename: a reader sees the old one or the new one
