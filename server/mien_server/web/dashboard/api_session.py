"""Logging in and out, and who one is."""

from typing import Annotated, Literal

from fastapi import APIRouter, Cookie, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mien_common.versions import MIEN_VERSION
from mien_server.facts import Role
from mien_server.web.dashboard.desk import AtDesk
from mien_server.web.dashboard.login import SESSION_COOKIE, Looks, address_of
from mien_server.web.dashboard.problems import problems
from mien_server.web.dashboard.sessions import SESSION_LASTS
from mien_server.web.dashboard.tokens import LONGEST_TOKEN

router = APIRouter(tags=["session"])


class Login(BaseModel):
    """What opens a session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str = Field(
        min_length=1, max_length=LONGEST_TOKEN, description="As `mien server token` printed it."
    )


class SessionFacts(BaseModel):
    """Who one is, and whom one talks to."""

    role: Role
    version: str


class Health(BaseModel):
    """That somebody answers."""

    status: Literal["ok"] = "ok"


@router.get("/health", summary="Whether the dashboard answers", responses=problems())
async def read_health() -> Health:
    """Needs no login."""
    return Health()


@router.get("/session", summary="Who I am", responses=problems())
async def read_session(who: Looks) -> SessionFacts:
    """401 without a session or a token that counts."""
    return SessionFacts(role=who.role, version=MIEN_VERSION)


@router.post("/login", summary="Open a session by a token", responses=problems(403, 408, 413, 415))
def log_in(wanted: Login, request: Request, response: Response, desk: AtDesk) -> SessionFacts:
    """Sets the cookie `mien_session`, for twelve hours. Machines need none: they send the token itself."""
    role, key = desk.gate.log_in(wanted.token, address_of(request))
    response.set_cookie(
        SESSION_COOKIE,
        key,
        max_age=int(SESSION_LASTS.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return SessionFacts(role=role, version=MIEN_VERSION)


@router.post("/logout", status_code=204, summary="End the session", responses=problems(403, 408, 413, 415))
def log_out(
    request: Request,
    desk: AtDesk,
    mien_session: Annotated[str | None, Cookie(include_in_schema=False)] = None,
) -> Response:
    """The cookie counts no longer, here or anywhere. Without a session nothing happens."""
    if mien_session:
        desk.gate.sessions.close(mien_session)
    response = Response(status_code=204)
    response.delete_cookie(
        SESSION_COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response
