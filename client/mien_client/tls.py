"""Asks the server for its certificate before gRPC does, to say in words what is wrong with it.

gRPC reports a bad certificate as "unavailable", the same as a server that is down; an agent would
wait for ever for a server it must never trust.
"""

import datetime as dt
import socket
import ssl
from typing import Final

from cryptography import x509

from mien_common.errors import FederationError, TrustError

HANDSHAKE_S: Final = 10.0

NEW_AUTHORITY: Final = "Ask the operator for a code to a server with a new one: mien agent join CODE"
"""How to mend an authority that ends; the server's certificate alone cannot be renewed any more then."""

_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_WRONG_HOST: Final = (62, 64)
"""OpenSSL's X509_V_ERR_… numbers: host name mismatch, IP address mismatch."""


class ServerUnreachableError(FederationError):
    """Nothing answers there, now; it may later."""


def check_server(server: str, root_certificate: bytes) -> dt.datetime:
    """Make one TLS connection to ``server`` and check its certificate.

    Parameters
    ----------
    server : HOST:PORT; an IPv6 address stands in brackets.
    root_certificate : PEM of the only authority to trust.

    Returns
    -------
    When the certificate ends.

    Raises
    ------
    TrustError
        The certificate is expired, for another host, or not of this authority.
    ServerUnreachableError
        No TLS server answers.
    """
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    context = ssl.create_default_context(cadata=root_certificate.decode())
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, int(port)), timeout=HANDSHAKE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
            return certificate.not_valid_after_utc
    except ssl.SSLCertVerificationError as error:
        raise TrustError(
            f"will not join {server}: {certificate_problem(error, host, root_certificate)}"
        ) from error
    except ssl.SSLError as error:
        raise ServerUnreachableError(
            f"{server} does not speak TLS ({error.reason}). Is it a Mien server?"
        ) from error
    except (OSError, ValueError, OverflowError) as error:
        raise ServerUnreachableError(
            f"no server answers at {server}: {error}. Is `mien server up` running?"
        ) from error


def certificate_problem(error: ssl.SSLCertVerificationError, host: str, authority: bytes) -> str:
    """What is wrong with a certificate, and how to mend it; ``authority`` is the one that is trusted, PEM."""
    if error.verify_code == _EXPIRED:
        ended = min(root.not_valid_after_utc for root in x509.load_pem_x509_certificates(authority))
        if ended <= dt.datetime.now(dt.UTC):
            return (
                f"the authority in this site's ca.crt ended on {ended:%Y-%m-%d}, if this machine's clock is "
                f"right. {NEW_AUTHORITY}"
            )
        return (
            "its certificate has expired. Ask the operator to renew it (mien server init DIR --renew), if "
            "this machine's clock is right."
        )
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not valid yet. Check this machine's clock."
    if error.verify_code in _WRONG_HOST:
        return (
            f"its certificate is for another host than {host}. Use the name the operator gave, or have the "
            "operator add this one (mien server init DIR --renew --host NAME, or --ip ADDRESS)."
        )
    return (
        f"its certificate is not from this site's ca.crt ({error.verify_message}). "
        "Get the server's tls/ca.crt from its operator."
    )
