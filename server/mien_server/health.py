"""Does the server answer? Asked by ``mien server health``, by Docker, and by ``up`` while it starts.

Only the standard library: a container asks every few seconds.
"""

import http.client
import socket
import ssl

from mien_common.errors import FederationError, TrustError
from mien_server.folder import LOOPBACK, ServerFolder


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
    # The wildcard addresses are reached through loopback.
    fleet = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(settings.listen, settings.listen)  # noqa: S104 - compared, not bound
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
