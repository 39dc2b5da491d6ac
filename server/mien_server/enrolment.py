"""Who may join: the sites the operator enrolled, each by its public key.

Enters: a site's OpenSSH public key file. Leaves: ``sites.json``, and the registration of every key
with the running SuperLink, which refuses all others.
"""

import base64
import fcntl
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.errors import InputError, SettingsError, TrustError
from mien_common.files import read_bounded, storage_errors, write_atomic
from mien_common.site_name import SITE_NAME_PATTERN
from mien_server.control import Control
from mien_server.folder import ServerFolder

KEY_LIMIT_BYTES: Final = 16 * 1024
SITES_LIMIT_BYTES: Final = 16 * 1024 * 1024


class Site(BaseModel):
    """One enrolled site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    public_key: str
    """OpenSSH form, without a comment."""
    fingerprint: str
    """As ``ssh-keygen -l`` prints it."""
    node_id: int | None = None
    """Flower's number for it; None until the server has run since its enrolment."""


class _Sites(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sites: tuple[Site, ...] = Field(default=())


def read_sites(folder: ServerFolder) -> tuple[Site, ...]:
    """Every enrolled site, by name.

    Raises
    ------
    SettingsError
        ``sites.json`` is damaged.
    """
    file = folder.sites_file
    if not file.exists():
        return ()
    try:
        return _Sites.model_validate_json(read_bounded(file, SITES_LIMIT_BYTES)).sites
    except (InputError, ValidationError) as error:
        raise SettingsError(
            f"{file} is damaged: {error}. Put it back from a copy, or delete it and enrol every site again."
        ) from error


def enrol(folder: ServerFolder, public_key_file: Path, name: str) -> Site:
    """Enrol the site ``name`` with the key in ``public_key_file``; it may join from the next registration on.

    Raises
    ------
    SettingsError
        The name cannot be a site's, or is taken.
    TrustError
        The file holds no public key that sites use, holds a private one, or a key enrolled already.
    """
    _check_name(name)
    key = _read_public_key(public_key_file)
    _check_comment(public_key_file, name)
    text = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    with _locked(folder):
        sites = read_sites(folder)
        for site in sites:
            if site.name == name:
                raise SettingsError(
                    f"a site named {name!r} is enrolled already (key {site.fingerprint}). "
                    "Choose another name."
                )
            if site.public_key == text:
                raise TrustError(
                    f"the key in {public_key_file} is enrolled already, as {site.name!r}. "
                    "Every site needs a key of its own: mien agent init"
                )
        site = Site(name=name, public_key=text, fingerprint=_fingerprint(text))
        _write_sites(folder, (*sites, site))
    return site


def _check_comment(public_key_file: Path, name: str) -> None:
    """A site writes its own name behind its key; under another, all it sends would be rejected."""
    words = public_key_file.read_text(errors="replace").split()
    if len(words) == 3 and words[2] != name and re.fullmatch(SITE_NAME_PATTERN, words[2]):
        raise SettingsError(
            f"{public_key_file} is the key of a site that calls itself {words[2]!r}, not {name!r}. Enrol it "
            "under that name, or have the site made anew: mien agent init --name"
        )


def register(folder: ServerFolder, control: Control) -> list[Site]:
    """Make the running SuperLink know exactly the enrolled keys; the sites that were new to it.

    Safe to repeat, and right also when Flower's database was lost or the node ids changed.
    """
    with _locked(folder):
        known = control.node_ids()
        sites, new = [], []
        for site in read_sites(folder):
            pem = public_key_pem(site)
            node_id = known.get(pem)
            if node_id is None:
                node_id = control.register_site(site.name, pem)
                new.append(site)
            sites.append(site.model_copy(update={"node_id": node_id}))
        if tuple(sites) != read_sites(folder):
            _write_sites(folder, tuple(sites))
    return new


def public_key_pem(site: Site) -> bytes:
    """The site's key as Flower keeps it."""
    key = serialization.load_ssh_public_key(site.public_key.encode())
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _check_name(name: str) -> None:
    if not re.fullmatch(SITE_NAME_PATTERN, name):
        raise SettingsError(
            f"{name!r} cannot be a site's name: use at most 32 lower-case letters, "
            "digits and inner dashes, like lab-2."
        )


def _read_public_key(file: Path) -> ec.EllipticCurvePublicKey:
    try:
        content = read_bounded(file, KEY_LIMIT_BYTES)
    except InputError as error:
        raise TrustError(f"{error}. Give the site's public key, keys/site.pub in its folder.") from error
    if b"PRIVATE KEY" in content:
        raise TrustError(
            f"{file} is a PRIVATE key: it must never leave its site. If it came over a network, make the "
            "site a new one. Give the public key, the file that ends in .pub."
        )
    try:
        key = serialization.load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(
            f"{file} is not an OpenSSH public key. Give the site's keys/site.pub (one line, ecdsa-sha2-...)."
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TrustError(f"{file} is not an elliptic-curve key. Give the one that `mien agent init` made.")
    return key


def _fingerprint(public_key: str) -> str:
    blob = base64.b64decode(public_key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _write_sites(folder: ServerFolder, sites: tuple[Site, ...]) -> None:
    ordered = _Sites(sites=tuple(sorted(sites, key=lambda site: site.name)))
    write_atomic(folder.sites_file, ordered.model_dump_json(indent=2).encode() + b"\n")


@contextmanager
def _locked(folder: ServerFolder) -> Iterator[None]:
    """One writer of ``sites.json`` at a time: ``enrol`` and ``up`` may meet."""
    file = folder.state / "sites.lock"
    with storage_errors(file):
        lock = file.open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
