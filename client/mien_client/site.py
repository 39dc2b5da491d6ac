"""The site's folder: who this site is, which server it trusts, and where its data lies.

site.toml      settings, readable by hand
ca.crt         the server's certificate authority: the only one this site trusts
keys/          site.key (private, mode 0600, never leaves), site.pub (given to the operator)
sessions/      features and ratings; never leave
calibrations/  participants' neutral faces, as 17 numbers each; never leave
models/        the newest global model the server sent
release.pub    the key that signs this server's releases: the only one this site trusts
release-former.pub  keys that did so before it: by them older releases are known
releases/      releases that were fetched; ``current`` points to the one in use
state/         what the agent needs to resume after a crash
receipts.jsonl what left, when, and how many bytes
"""

import fcntl
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import tomli_w
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mien_common.enrolment_messages import DEFAULT_ENROL_PORT, DEFAULT_RELEASES_PORT
from mien_common.errors import InputError, SettingsError, TrustError
from mien_common.files import is_there, make_folder, read_bounded, storage_errors, write_atomic
from mien_common.release import KEY_LIMIT_BYTES, fingerprint, public_pem, read_public_key
from mien_common.site_keys import new_key, private_openssh, public_openssh
from mien_common.site_name import SiteName

SETTINGS_FILE: Final = "site.toml"
_SMALL_FILE_BYTES: Final = 256 * 1024


class SiteSettings(BaseModel):
    """What ``site.toml`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: SiteName
    server: Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")]
    """HOST:PORT of the server's fleet address."""
    enrol_port: int = Field(default=DEFAULT_ENROL_PORT, ge=1, le=65535)
    """Of the server's enrolment, on the same host; to change the key, and for ``doctor``."""
    releases_port: int = Field(default=DEFAULT_RELEASES_PORT, ge=0, le=65535)
    """Where the server hands out releases, on the same host; 0 where it does not."""
    lag_s: float = Field(default=2.0, ge=0, le=20)
    """How far the ratings trail the face, seconds; annotators need 1–6 s (Mariooryad & Busso, 2015)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads for training; more than one rarely helps a network this small."""
    releases_url: Annotated[str, Field(pattern=r"^(https://[^\s/@?#]+(/[^\s?#]*)?)?$", max_length=2000)] = ""
    """Where releases are fetched, without the ``/releases`` behind it; empty for the server's own."""

    @field_validator("server")
    @classmethod
    def _port_exists(cls, value: str) -> str:
        if not 1 <= int(value.rpartition(":")[2]) <= 65535:
            raise ValueError("the port must be 1 to 65535")
        return value


@dataclass(frozen=True)
class Site:
    """An opened site folder."""

    folder: Path
    settings: SiteSettings

    @property
    def sessions(self) -> Path:
        """Where the sessions lie."""
        return self.folder / "sessions"

    @property
    def calibrations(self) -> Path:
        """Where participants' neutral faces lie."""
        return self.folder / "calibrations"

    @property
    def models(self) -> Path:
        """Where the newest global model lies."""
        return self.folder / "models"

    @property
    def releases(self) -> Path:
        """Where fetched releases lie."""
        return self.folder / "releases"

    @property
    def release_key_file(self) -> Path:
        """The key that releases must be signed with."""
        return self.folder / "release.pub"

    @property
    def former_release_keys_file(self) -> Path:
        """The keys that signed this server's releases before that one did."""
        return self.folder / "release-former.pub"

    @property
    def state(self) -> Path:
        """Where the agent keeps what it needs after a crash."""
        return self.folder / "state"

    @property
    def receipts(self) -> Path:
        """The record of what left."""
        return self.folder / "receipts.jsonl"

    @property
    def ca_certificate(self) -> Path:
        """The certificate authority this site trusts."""
        return self.folder / "ca.crt"

    @property
    def private_key_file(self) -> Path:
        """The site's private key."""
        return self.folder / "keys" / "site.key"

    @property
    def public_key_file(self) -> Path:
        """The site's public key, for the operator to enrol."""
        return self.folder / "keys" / "site.pub"

    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """The site's private key.

        Raises
        ------
        TrustError
            It is missing, readable by others, or no EC key.
        """
        path = self.private_key_file
        try:
            content = read_bounded(path, _SMALL_FILE_BYTES)
            if path.stat().st_mode & 0o077:
                raise TrustError(f"{path} can be read by others. Run: chmod 600 {path}")
            key = serialization.load_ssh_private_key(content, password=None)
        except (InputError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise TrustError(
                f"{path} is not a usable private key. Restore it, or make a new site with `mien agent init` "
                "and have the operator enrol its key."
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TrustError(f"{path} holds no elliptic-curve key. Make a new site with `mien agent init`.")
        return key

    def root_certificate(self) -> bytes:
        """The certificate authority's certificate, PEM.

        Raises
        ------
        TrustError
            It is missing or no certificate.
        """
        return read_certificate(self.ca_certificate)


def read_certificate(path: Path) -> bytes:
    """The certificates in a PEM file, without the words that some tools write around them.

    Raises
    ------
    TrustError
        It is missing or no certificate.
    """
    try:
        content = read_bounded(path, _SMALL_FILE_BYTES)
        certificates = x509.load_pem_x509_certificates(content)
    except (InputError, ValueError) as error:
        raise TrustError(
            f"{path} is not a readable certificate. Give the server's tls/ca.crt, from its operator."
        ) from error
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def read_release_key(path: Path) -> Ed25519PublicKey:
    """The key in a ``release.pub``.

    Raises
    ------
    TrustError
        It is missing or none.
    """
    try:
        content = read_bounded(path, KEY_LIMIT_BYTES)
    except InputError as error:
        raise TrustError(f"{error}. Give the server's tls/release.pub, from its operator.") from error
    return read_public_key(content, path)


def read_former_keys(site: Site) -> tuple[Ed25519PublicKey, ...]:
    """The keys that signed this server's releases before the one that the site trusts now, oldest first.

    Raises
    ------
    TrustError
        The file that holds them is damaged.
    """
    file = site.former_release_keys_file
    if not is_there(file):
        return ()
    end = b"-----END PUBLIC KEY-----\n"
    pems = read_bounded(file, _SMALL_FILE_BYTES).split(end)[:-1]
    return tuple(read_public_key(pem + end, file) for pem in pems)


def read_release_keys(site: Site) -> tuple[Ed25519PublicKey, ...]:
    """The key that the site trusts for releases, and those before it."""
    return read_release_key(site.release_key_file), *read_former_keys(site)


def pin_release_key(site: Site, path: Path) -> None:
    """Let ``site`` trust the release key in ``path`` from now on.

    Raises
    ------
    TrustError
        It is no such key, or the site trusts another one.
    """
    key = read_release_key(path)
    if is_there(site.release_key_file):
        known = read_release_key(site.release_key_file)
        if known != key:
            raise TrustError(
                f"this site trusts another release key ({fingerprint(known)}) than {path} "
                f"({fingerprint(key)}). If the server's operator has changed it, remove "
                f"{site.release_key_file} and try again."
            )
    write_atomic(site.release_key_file, public_pem(key))


def create_site(
    folder: Path, settings: SiteSettings, ca_certificate: Path, release_key: Path | None = None
) -> Site:
    """Make a site's folder with a new key (EC P-384, OpenSSH format).

    Raises
    ------
    SettingsError
        The folder is a site already.
    TrustError
        ``ca_certificate`` is not a certificate, or ``release_key`` no key for releases.
    StorageError
        The folder cannot be written.
    """
    site = Site(folder, settings)
    if is_there(folder / SETTINGS_FILE):
        raise SettingsError(f"{folder} is a site already. Choose another folder; its key stays as it is.")
    certificate = read_certificate(ca_certificate)
    signer = None if release_key is None else read_release_key(release_key)
    make_folders(site)
    key = new_key()
    write_atomic(site.private_key_file, private_openssh(key), mode=0o600)
    write_atomic(site.public_key_file, f"{public_openssh(key.public_key())} {settings.name}\n".encode())
    finish_site(site, certificate, signer)
    return site


def make_folders(site: Site) -> None:
    """The folders of a site, where they are not there yet."""
    make_folder(site.folder)
    make_folder(site.private_key_file.parent, mode=0o700)
    make_folder(site.sessions, mode=0o700)  # action units and ratings are about a person
    make_folder(site.state, mode=0o700)


def finish_site(site: Site, authority: bytes, release_key: Ed25519PublicKey | None = None) -> None:
    """Write whom the site trusts and, last, its settings: a folder with settings is a whole site."""
    write_atomic(site.ca_certificate, authority)
    if release_key is not None:
        write_atomic(site.release_key_file, public_pem(release_key))
    write_atomic(site.folder / SETTINGS_FILE, tomli_w.dumps(site.settings.model_dump()).encode())


def open_site(folder: Path) -> Site:
    """Open a site's folder.

    Raises
    ------
    SettingsError
        It is no site, or a setting in ``site.toml`` is unknown or impossible.
    """
    path = folder / SETTINGS_FILE
    if not is_there(path):
        raise SettingsError(
            f"{folder} is not a site: it has no {SETTINGS_FILE}. Make one with `mien agent init`."
        )
    try:
        settings = SiteSettings.model_validate(tomllib.loads(read_bounded(path, _SMALL_FILE_BYTES).decode()))
    except (InputError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}. Mend it by hand.") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {first_problem(error)}. Mend it by hand.") from error
    return Site(folder, settings)


_WORDS_FOR_PATTERNS: Final = {
    "name": "use at most 32 lower-case letters, digits and inner dashes, like lab-2",
    "server": "give HOST:PORT, like mien.example.org:9092",
    "releases_url": "give https://HOST:PORT, like https://models.example.org",
}


def first_problem(error: ValidationError) -> str:
    """The first thing wrong, as ``field: what``; a pattern in words."""
    problem = error.errors(include_url=False)[0]
    field = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "string_pattern_mismatch" and field in _WORDS_FOR_PATTERNS:
        return f"{field}: {problem['input']!r} will not do; {_WORDS_FOR_PATTERNS[field]}"
    return f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']}"


def lock_file(site: Site) -> int:
    """An open descriptor of the site's lock file, for ``flock``."""
    path = site.state / "agent.lock"
    make_folder(site.state, mode=0o700)
    with storage_errors(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def only_agent(site: Site) -> Iterator[None]:
    """Hold the site for this process; the lock ends with it, however it ends.

    Raises
    ------
    SettingsError
        Another process holds it.
    """
    descriptor = lock_file(site)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SettingsError(
            f"another agent is running on {site.folder}. Stop it first, or give each agent its own folder."
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)
