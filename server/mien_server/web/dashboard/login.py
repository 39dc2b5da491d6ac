"""Who asks: a machine with a token, or a person's browser with the cookie of a session.

Enters: the headers of a request. Leaves: a role, or 401, 403 and, after too many wrong tokens, 429. Wrong
tokens are counted per address; of a refusal nothing is kept but that it happened.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from mien_server.facts import Role
from mien_server.web.dashboard.sessions import Sessions
from mien_server.web.dashboard.tokens import Tokens
from mien_server.web.rate_limit import WrongTries

SESSION_COOKIE: Final = "mien_session"
MOST_WRONG_IN_ALL: Final = 2000
"""Tokens cannot be guessed; this is to keep a flood from costing much, and not to lock an operator out."""

WHO_IS_IT: Final = "who are you? Log in, or send a token: Authorization: Bearer TOKEN"

_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="token", description="For machines: `mien server token` makes one."
)
_COOKIE: Final = APIKeyCookie(
    name=SESSION_COOKIE,
    auto_error=False,
    scheme_name="session",
    description="For the page: POST /api/v1/login sets it.",
)


@dataclass(frozen=True)
class Caller:
    """Somebody who may look, and, as an operator, do."""

    role: Role
    is_welcome: Callable[[], bool]
    """Whether that still holds; what lasts, like a stream, asks again and again."""


def _tries() -> WrongTries:
    return WrongTries(time.monotonic, in_all=MOST_WRONG_IN_ALL)


@dataclass
class Gate:
    """Knows every token and every session.

    Parameters
    ----------
    refused : called for each wrong token.
    logins, calls : wrong tokens at the login and in headers, counted apart, so that a program that
        goes on with an old token does not keep a person from the page.
    """

    tokens: Tokens
    sessions: Sessions
    refused: Callable[[], None]
    logins: WrongTries = field(default_factory=_tries)
    calls: WrongTries = field(default_factory=_tries)

    def log_in(self, token: str, address: str) -> tuple[Role, str]:
        """Role and key of a new session, for the right token."""
        role = self._role(token, address, self.logins)
        return role, self.sessions.open(role)

    def by_token(self, token: str, address: str) -> Caller:
        """Whose token it is."""
        role = self._role(token, address, self.calls)
        return Caller(role, lambda: self.tokens.role_of(token) == role)

    def by_session(self, key: str) -> Caller | None:
        """Whose session it is; None where it has ended. Not counted: a page that was left open asks, too."""
        session = self.sessions.find(key)
        if session is None:
            return None
        return Caller(session.role, lambda: self.sessions.find(key) is not None)

    def _role(self, token: str, address: str, tries: WrongTries) -> Role:
        wait_s = tries.wait_s(address)
        if wait_s:
            raise HTTPException(
                429,
                f"too many wrong tokens. Wait {math.ceil(wait_s / 60)} min and try again.",
                {"Retry-After": str(math.ceil(wait_s))},
            )
        role = self.tokens.role_of(token)
        if role is None:
            tries.count(address)
            self.refused()
            raise unauthorised("this token does not count. Make a new one: mien server token")
        return role


def unauthorised(sentence: str = WHO_IS_IT) -> HTTPException:
    """401, with what to do."""
    return HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})


def address_of(request: Request) -> str:
    """Whom wrong tries count for."""
    return request.client.host if request.client else "unknown"


async def caller(
    request: Request,
    token: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    key: Annotated[str | None, Security(_COOKIE)],
) -> Caller:
    """Whoever may look: operator or viewer. A token that was sent decides, even beside a cookie."""
    gate: Gate = request.app.state.desk.gate
    if token is not None:
        return gate.by_token(token.credentials, address_of(request))
    found = gate.by_session(key) if key else None
    if found is None:
        raise unauthorised()
    return found


async def operator(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """Whoever may change something."""
    if who.role != "operator":
        raise HTTPException(403, "a viewer may look, not do. Log in with the operator's token.")
    return who


Looks = Annotated[Caller, Depends(caller)]
Does = Annotated[Caller, Depends(operator)]
