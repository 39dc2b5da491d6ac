"""The enrolment door: invited sites are let in, enrolled ones change their key or ask how they stand.

Enters, from strangers: small JSON bodies (:mod:`mien_common.enrolment_messages`). Leaves: a name, a port
and the releases' public key for who is let in; for everybody else one sentence that does not say what was
wrong. Never leaves, never logged: a secret, or a body.
"""

import asyncio
import datetime as dt
import logging
import math
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mien_common.enrolment_messages import (
    AUTHORITY_PATH,
    BODY_LIMIT_BYTES,
    ENROL_PATH,
    HEALTH_PATH,
    REQUEST_VALID_S,
    ROTATE_PATH,
    STANDING_PATH,
    EnrolReply,
    EnrolRequest,
    Refusal,
    RotateReply,
    RotateRequest,
    StandingReply,
    StandingRequest,
)
from mien_common.errors import EnrolmentRefusedError, FederationError, MienError, StorageError
from mien_common.files import read_bounded
from mien_common.site_keys import is_signed
from mien_common.versions import MIEN_VERSION
from mien_server.certificates import PEM_LIMIT_BYTES
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import key_of, rotate
from mien_server.membership.invites import redeem
from mien_server.membership.roll import read_roll
from mien_server.publishing.release_key import published_key
from mien_server.web.rate_limit import WrongTries
from mien_server.web.refusals import Refusals

BODY_PATIENCE_S: Final = 10.0
REFUSED: Final = (
    "the server does not accept this: the code is wrong, used, expired or withdrawn, or the key is not "
    "enrolled. Ask the operator for a new code (mien server invite)."
)
"""One sentence for whatever is wrong, so that nobody learns which part of a guess was right."""

log = logging.getLogger(__name__)

Message = TypeVar("Message", bound=BaseModel)
Clock = Callable[[], dt.datetime]


class _RefusedError(Exception):
    """To be answered with a status and a sentence."""

    def __init__(self, status: int, sentence: str, wrong: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.wrong, self.wait_s = status, sentence, wrong, wait_s


class EnrolmentDoor:
    """Answers at the door of one server.

    Parameters
    ----------
    register : makes the running SuperLink know who is enrolled and who is refused.
    """

    def __init__(
        self,
        folder: ServerFolder,
        register: Callable[[], None],
        clock: Clock = lambda: dt.datetime.now(dt.UTC),
        tries: WrongTries | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self._folder, self._register, self._clock = folder, register, clock
        self._tries = tries or WrongTries(time.monotonic)
        self.refusals = refusals or Refusals(folder, "enrolment")

    def app(self) -> Starlette:
        """The door as an ASGI application."""
        app = Starlette(
            routes=[
                Route(HEALTH_PATH, self._health),
                Route(AUTHORITY_PATH, self._authority),
                Route(ENROL_PATH, self._answering(EnrolRequest, self._enrol), methods=["POST"]),
                Route(ROTATE_PATH, self._answering(RotateRequest, self._rotate), methods=["POST"]),
                Route(STANDING_PATH, self._answering(StandingRequest, self._standing), methods=["POST"]),
            ],
            exception_handlers={HTTPException: _no_such_thing, Exception: _broken},
        )
        app.router.redirect_slashes = False  # a redirect would go to the name that the caller gave as ours
        return app

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _authority(self, _request: Request) -> Response:
        """The authority's certificate, for who can check it against a code; it is no secret."""
        content = await run_in_threadpool(read_bounded, self._folder.ca_certificate, PEM_LIMIT_BYTES)
        return Response(content, media_type="application/x-pem-file")

    def _answering(
        self, kind: type[Message], answer: Callable[[Message], BaseModel]
    ) -> Callable[[Request], Awaitable[Response]]:
        """A route: the body is read in bounds, checked, and answered in a thread of its own."""

        async def route(request: Request) -> Response:
            address = request.client.host if request.client else "unknown"
            try:
                wait_s = self._tries.wait_s(address)
                if wait_s:
                    minutes = math.ceil(wait_s / 60)
                    raise _RefusedError(
                        429, f"too many wrong tries. Wait {minutes} min and try again.", wait_s=wait_s
                    )
                message = _parsed(kind, await _body(request))
                found = await run_in_threadpool(answer, message)
            except (_RefusedError, MienError) as error:
                return self._refused(address, kind, error)
            log.info("event=%s site=%s address=%s", _kind(kind), getattr(found, "name", "-"), address)
            return _json(found, 200)

        return route

    def _refused(self, address: str, kind: type[BaseModel], error: _RefusedError | MienError) -> Response:
        refused = error if isinstance(error, _RefusedError) else _as_refusal(error)
        if refused.wrong:
            self._tries.count(address)
        log.warning("event=refused request=%s address=%s status=%d", _kind(kind), address, refused.status)
        if refused.status < 500:
            self.refusals.count()
        else:
            log.error("event=failed request=%s reason=%s", _kind(kind), error)
        response = _json(Refusal(error=refused.sentence[:500]), refused.status)
        if refused.wait_s:
            response.headers["Retry-After"] = str(math.ceil(refused.wait_s))
        return response

    def _enrol(self, request: EnrolRequest) -> EnrolReply:
        site = redeem(self._folder, request, self._clock())
        if site is None:
            raise _RefusedError(403, REFUSED, wrong=True)
        self._register()
        return EnrolReply(
            name=site.name,
            port=self._folder.settings.port,
            mien_version=MIEN_VERSION,
            release_key=published_key(self._folder.tls),
            releases_port=self._folder.settings.releases_port,
        )

    def _rotate(self, request: RotateRequest) -> RotateReply:
        site = rotate(self._folder, request, self._clock())
        if site is None:
            raise _RefusedError(403, REFUSED, wrong=True)
        self._register()
        return RotateReply(name=site.name)

    def _standing(self, request: StandingRequest) -> StandingReply:
        site = read_roll(self._folder).holder(request.public_key)
        key = key_of(request.public_key) if site else None
        if (
            site is None
            or key is None
            or site.public_key != request.public_key
            or request.time.tzinfo is None
            or abs((self._clock() - request.time).total_seconds()) > REQUEST_VALID_S
            or not is_signed(
                key, request.signature, StandingRequest.statement(request.public_key, request.time)
            )
        ):
            raise _RefusedError(403, REFUSED, wrong=True)
        return StandingReply(
            name=site.name,
            state="enrolled" if site.revoked is None else "revoked",
            mien_version=MIEN_VERSION,
            flwr_version=version("flwr"),
        )


def _as_refusal(error: MienError) -> _RefusedError:
    """An error in words for who asked; whose fault it is decides the status. Paths stay here."""
    if isinstance(error, StorageError):
        return _RefusedError(507, "the server cannot write now (disk full?). Tell its operator; try later.")
    if isinstance(error, FederationError):
        return _RefusedError(503, "the server is not ready. Try again in a moment.", wait_s=2.0)
    if isinstance(error, EnrolmentRefusedError):
        return _RefusedError(409, str(error))
    return _RefusedError(500, "the server failed. Tell its operator.")


async def _body(request: Request) -> bytes:
    """The body, if it is small and comes soon."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_PATIENCE_S):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_LIMIT_BYTES:
                    raise _RefusedError(413, f"a request may have {BODY_LIMIT_BYTES} bytes", wrong=True)
    except TimeoutError:
        raise _RefusedError(408, "the request came too slowly", wrong=True) from None
    except ClientDisconnect:
        raise _RefusedError(400, "the request was broken off", wrong=True) from None
    return bytes(body)


def _parsed(kind: type[Message], body: bytes) -> Message:
    try:
        return kind.model_validate_json(body)
    except (ValidationError, RecursionError):
        # Without the reason: pydantic's would repeat what came, and a secret may be in it.
        raise _RefusedError(400, "this is not a request of Mien's agent", wrong=True) from None


def _json(content: BaseModel, status: int) -> Response:
    return Response(
        content.model_dump_json(),
        status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", "Connection": "close"},
    )


def _kind(kind: type[BaseModel]) -> str:
    return kind.__name__.removesuffix("Request").lower()


async def _no_such_thing(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _json(Refusal(error="there is nothing here but Mien's enrolment"), status)


async def _broken(_request: Request, error: Exception) -> Response:
    log.error("event=failed reason=%s", type(error).__name__)
    return _json(Refusal(error="the server failed. Tell its operator."), 500)
