"""Does the server answer? Asked by ``mien server health``, by Docker, and by ``up`` while it starts.

Nothing heavy is loaded: a container asks every few seconds.
"""

import http.client
import socket
import ssl
from pathlib import Path

from mien_common.enrolment_messages import HEALTH_PATH
from mien_common.errors import FederationError, TrustError
from mien_common.release import KEY_FILE
from mien_server.folder import LOOPBACK, ServerFolder
from mien_server.web.dashboard.access import Access, read_access


def check_health(folder: ServerFolder, timeout_s: float = 5.0) -> None:
    """Return when both the operators' and the agents' door answer with our certificate.

    Raises
    ------
    FederationError
        One of them does not answer.
    TrustError
        Something answers there, but not with this folder's certificate.
    """
    settings = folder.settings
    fleet = local_address(folder)
    try:
        trust = ssl.create_default_context(cafile=str(folder.ca_certificate))
    except (OSError, ssl.SSLError) as error:
        raise TrustError(f"cannot read {folder.ca_certificate}: {error}") from error
    try:
        control = http.client.HTTPSConnection(
            LOOPBACK, settings.control_port, timeout=timeout_s, context=trust
        )
        try:
            control.request("GET", "/health")
            status = control.getresponse().status
        finally:
            control.close()
        if status != http.HTTPStatus.OK:
            raise FederationError(
                f"the server at {folder.control_address} answers {status}; see {folder.logs}"
            )
        trust.set_alpn_protocols(["h2"])  # gRPC refuses a client that does not offer it
        with (
            socket.create_connection((fleet, settings.port), timeout=timeout_s) as plain,
            trust.wrap_socket(plain, server_hostname="localhost"),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        raise TrustError(
            f"what answers at ports {settings.port} and {settings.control_port} is not the server of "
            f"{folder.path}: {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise FederationError(
            f"no server answers for {folder.path}: {error}. Start it: mien server up --dir {folder.path}"
        ) from error


def check_door(folder: ServerFolder, timeout_s: float = 5.0) -> None:
    """Return when the enrolment door answers with our certificate, or is not wanted.

    Raises
    ------
    FederationError
        It does not answer.
    TrustError
        Something answers there, but not with this folder's certificate.
    """
    port = folder.settings.enrol_port
    _check_listener(folder, "enrolment", port, HEALTH_PATH, "door.log", folder.ca_certificate, timeout_s)


def check_releases(folder: ServerFolder, timeout_s: float = 5.0) -> None:
    """The same of the listener that hands out releases."""
    what, port = "listener for releases", folder.settings.releases_port
    _check_listener(
        folder, what, port, f"/releases/{KEY_FILE}", "releases.log", folder.ca_certificate, timeout_s
    )


def check_dashboard(folder: ServerFolder, timeout_s: float = 5.0) -> None:
    """The same of the operator's page: over HTTPS in public, plainly on loopback.

    Whoever asks knows no more of how it was started than what the server that runs has written.
    """
    what, port = "dashboard", folder.settings.dashboard_port
    access = read_access(folder) if port else Access()
    certificate = None
    if access.public:
        certificate = access.certificate or folder.ca_certificate
    _check_listener(folder, what, port, "/api/v1/health", "dashboard.log", certificate, timeout_s)


def _check_listener(
    folder: ServerFolder,
    what: str,
    port: int,
    path: str,
    log_name: str,
    certificate: Path | None,
    timeout_s: float,
) -> None:
    """``certificate``: an authority, or the very one that is shown; None where it is plain, on loopback."""
    if not port:
        return
    log = folder.logs / log_name
    try:
        listener = _connection(folder, port, certificate, timeout_s)
        try:
            listener.request("GET", path)
            status = listener.getresponse().status
        finally:
            listener.close()
    except ssl.SSLCertVerificationError as error:
        raise TrustError(
            f"what answers at port {port} is not the {what} of {folder.path}: {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise FederationError(
            f"the {what} of {folder.path} does not answer at port {port}: {error}; see {log}"
        ) from error
    if status != http.HTTPStatus.OK:
        raise FederationError(f"the {what} at port {port} answers {status}; see {log}")


def _connection(
    folder: ServerFolder, port: int, certificate: Path | None, timeout_s: float
) -> http.client.HTTPConnection:
    if certificate is None:
        return http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False  # it listens on one address of many; the chain says that it is ours
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a certificate of one's own, whoever signed it
    return http.client.HTTPSConnection(local_address(folder), port, timeout=timeout_s, context=trust)


def local_address(folder: ServerFolder) -> str:
    """By which this machine itself reaches the agents' port; the wildcard addresses through loopback."""
    listen = folder.settings.listen
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(listen, listen)  # noqa: S104 - compared, not bound
