"""Where the dashboard listens and by which certificate: what ``mien server up`` was told, for who must know.

Enters: ``--public`` and the certificate of the operator's own, where there is one. Leaves:
``state/dashboard.json``, read by the dashboard itself, by ``health`` and ``doctor``; addresses for people.
"""

import socket
import ssl
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from mien_common.errors import InputError, SettingsError
from mien_common.files import read_bounded, write_atomic
from mien_server.folder import LOOPBACK, ServerFolder

ACCESS_FILE: Final = "dashboard.json"
ACCESS_LIMIT_BYTES: Final = 16 * 1024


class Access(BaseModel):
    """How the dashboard can be reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public: bool = False
    """On the address that agents connect to, with TLS; else on loopback, without."""
    certificate: Path | None = None
    """One that browsers trust; None for the server's own."""
    key: Path | None = None

    def listens_on(self, folder: ServerFolder) -> str:
        """The address that connections are accepted on."""
        return folder.settings.listen if self.public else LOOPBACK

    def files(self, folder: ServerFolder) -> tuple[Path, Path]:
        """Certificate and key, in public."""
        if self.certificate is not None and self.key is not None:
            return self.certificate, self.key
        return folder.tls / "server.crt", folder.tls / "server.key"

    def url(self, folder: ServerFolder) -> str:
        """What a person opens."""
        port = folder.settings.dashboard_port
        if not self.public:
            return f"http://{LOOPBACK}:{port}"
        named = [host for host in (*folder.settings.hosts, *folder.settings.ips) if "*" not in host]
        name = named[0] if named else socket.gethostname()
        return f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"


def checked_access(public: bool, certificate: Path | None, key: Path | None) -> Access:
    """What the operator asked for, if that can be.

    Raises
    ------
    SettingsError
        A certificate without its key, or for nobody; or they cannot be used.
    """
    if (certificate is None) != (key is None):
        raise SettingsError(
            "a certificate and its key go together: give --dashboard-cert and --dashboard-key"
        )
    if certificate is None or key is None:
        return Access(public=public)
    if not public:
        raise SettingsError(
            "--dashboard-cert is for a page that others can reach: give --public, too. On this machine alone "
            "the page needs no certificate."
        )
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            certificate, key, password=_no_password
        )
    except (OSError, ssl.SSLError) as error:
        reason = "the key does not fit" if "MISMATCH" in str(error) else error.strerror or str(error)
        raise SettingsError(
            f"cannot use {certificate} with {key}: {reason}. Give a certificate chain and its key, both PEM, "
            "the key without a password."
        ) from error
    return Access(public=True, certificate=certificate.absolute(), key=key.absolute())


def write_access(folder: ServerFolder, access: Access) -> None:
    """Keep it for the other processes of this server."""
    write_atomic(folder.state / ACCESS_FILE, access.model_dump_json().encode() + b"\n", mode=0o600)


def read_access(folder: ServerFolder) -> Access:
    """What the server that runs, or ran last, was told; loopback before the first."""
    try:
        return Access.model_validate_json(read_bounded(folder.state / ACCESS_FILE, ACCESS_LIMIT_BYTES))
    except (InputError, ValidationError):
        return Access()


def _no_password() -> str:
    """OpenSSL would ask for one on the terminal."""
    return ""
