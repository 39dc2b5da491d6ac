"""The server's enrolment door, from the site's side: HTTPS, small bodies, one authority to trust.

Leaves: public keys, signatures, an invitation's secret, and that only after the server has proven that it is
the one of the invitation. Enters: small replies, checked.
"""

import datetime as dt
import email.utils
import http.client
import ssl
import time
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from mien_common.enrolment_messages import AUTHORITY_PATH, BODY_LIMIT_BYTES, HEALTH_PATH, Refusal
from mien_common.errors import FederationError, InputError, TrustError
from mien_common.invitation import FINGERPRINT_BYTES, Invitation, authority_digest

from .tls import ServerUnreachableError, certificate_problem

TIMEOUT_S: Final = 15.0
PATIENCE_S: Final = 30.0
"""How long a server that is not ready yet is asked again."""
_AGAIN_S: Final = 1.0
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python does not name."""

Reply = TypeVar("Reply", bound=BaseModel)


@dataclass(frozen=True)
class Door:
    """The enrolment door of one server.

    Parameters
    ----------
    host : name or address; an IPv6 address stands in brackets.
    authority : PEM of the only authority to trust.
    """

    host: str
    port: int
    authority: bytes

    def ask(self, path: str, request: BaseModel, reply: type[Reply]) -> Reply:
        """Send a request, again while the server is not ready; its checked reply.

        Raises
        ------
        ServerUnreachableError
            Nothing answers there.
        TrustError
            The server's certificate does not hold, or it refuses.
        FederationError
            It is not ready, or asks to wait.
        """
        deadline = time.monotonic() + PATIENCE_S
        body = request.model_dump_json().encode()
        while True:
            context = ssl.create_default_context(cadata=self.authority.decode())
            status, content, _ = _exchange(self.host, self.port, context, path, body, self.authority)
            if status != http.HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return _checked(status, content, reply)
            time.sleep(_AGAIN_S)

    def server_time(self, check_time: bool = True) -> dt.datetime:
        """What time it is for the server; without ``check_time`` also where a wrong clock spoils trust.

        The chain and the host name are checked either way.
        """
        context = ssl.create_default_context(cadata=self.authority.decode())
        if not check_time:
            context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        _, _, date = _exchange(self.host, self.port, context, HEALTH_PATH, None, self.authority)
        if date is None:
            raise FederationError(f"{self.host}:{self.port} does not tell the time: it is no Mien server")
        return date


def invited_door(invitation: Invitation) -> Door:
    """The door that an invitation leads to, if its server has the authority that the invitation names.

    The authority is fetched without trust and nothing is sent but the wish for it; from then on only a
    certificate of this authority and for this host will do.

    Raises
    ------
    TrustError
        Somebody else answers there.
    ServerUnreachableError
        Nobody does.
    """
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    nobody = b""  # is trusted yet
    status, content, _ = _exchange(invitation.host, invitation.port, blind, AUTHORITY_PATH, None, nobody)
    try:
        matches = status == http.HTTPStatus.OK and (
            authority_digest(content)[:FINGERPRINT_BYTES] == invitation.fingerprint
        )
    except InputError:
        matches = False
    if not matches:
        raise TrustError(
            f"what answers at {invitation.address} is not the server that made this code: its authority is "
            "another. Nothing was sent. If the operator made a new server folder since, ask for a new code; "
            "else somebody stands between: tell the operator."
        )
    return Door(invitation.host, invitation.port, content)


def _exchange(
    host: str, port: int, context: ssl.SSLContext, path: str, body: bytes | None, authority: bytes
) -> tuple[int, bytes, dt.datetime | None]:
    """One request on a connection of its own: status, body, the server's time."""
    where = f"{host}:{port}"
    bare = host.strip("[]")
    connection = http.client.HTTPSConnection(bare, port, timeout=TIMEOUT_S, context=context)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request("POST" if body is not None else "GET", path, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read(BODY_LIMIT_BYTES + 1)
        date = _date(response.getheader("Date"))
    except ssl.SSLCertVerificationError as error:
        raise TrustError(
            f"will not enrol at {where}: {certificate_problem(error, bare, authority)}"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServerUnreachableError(
            f"no server enrols at {where}: {str(error) or type(error).__name__}. Is `mien server up` running "
            "there, and does the firewall let this port through?"
        ) from error
    finally:
        connection.close()
    if len(content) > BODY_LIMIT_BYTES:
        raise TrustError(f"{where} answers at too great a length: it is no Mien server")
    return response.status, content, date


def _checked(status: int, content: bytes, reply: type[Reply]) -> Reply:
    if status == http.HTTPStatus.OK:
        try:
            return reply.model_validate_json(content)
        except ValidationError as error:
            raise FederationError(
                "the server's answer cannot be read: it has another version of Mien. Install the same here."
            ) from error
    try:
        said = Refusal.model_validate_json(content).error
    except ValidationError:
        said = f"the server answers {status}; is it a Mien server?"
    said = "".join(letter if letter.isprintable() else " " for letter in said)
    if status in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.CONFLICT):
        raise TrustError(said)
    raise FederationError(said)


def _date(header: str | None) -> dt.datetime | None:
    try:
        return email.utils.parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
