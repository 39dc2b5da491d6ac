"""What went wrong, in one sentence and one status: the only place where an error becomes an answer.

Enters: an exception. Leaves: ``{"detail": "..."}`` without a path of the server's, and without what was sent.
"""

import logging
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import compile_path

from mien_common.config_problems import key_of
from mien_common.errors import (
    FederationError,
    InputError,
    MienError,
    ModelError,
    SettingsError,
    StorageError,
    TrustError,
)
from mien_server.folder import ServerFolder, without_paths
from mien_server.web.dashboard.guard import SAFE_METHODS

LONGEST_SENTENCE: Final = 500
AWAY: Final = (
    "the history cannot be read now; the server goes on without it. `mien server doctor` says what is wrong."
)
FULL: Final = (
    "the server cannot write now (disk full?). Nothing was changed. Free some space there, try again."
)
BROKEN: Final = "the server failed at this. Its dashboard.log says more."

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """Why there is no other answer."""

    detail: str


_MEANINGS: Final = {
    400: "The request cannot be understood.",
    401: "No token or session, or one that does not count any more.",
    403: "A viewer may not do this; or another site's page asks.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "Not in the present state of things.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    421: "The server is not called by this host name.",
    422: "A value is not what it should be.",
    429: "Too many wrong tokens; Retry-After says how long to wait.",
    500: "The server failed.",
    503: "The history's database, or the federation's server, does not answer.",
    507: "The server's disk is full.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documented errors of a route, beside those of every route."""
    always = (400, 401, 421, 422, 429)
    return {
        status: {"model": Problem, "description": _MEANINGS[status]}
        for status in sorted({*always, *statuses})
    }


LOOKING: Final = problems(404, 503)
DOING: Final = problems(403, 404, 408, 409, 413, 415, 503, 507)


def status_of(error: MienError, method: str) -> tuple[int, str]:
    """Whose fault an error is, and what to say of it."""
    match error:
        case StorageError() if method in SAFE_METHODS:
            return 503, AWAY  # nothing is written to answer a question: it is the database that is away
        case StorageError():
            return 507, FULL
        case FederationError():
            return 503, str(error)
        case TrustError() | SettingsError() | ModelError():
            return 409, str(error)
        case InputError():
            return 404, str(error)
    return 500, BROKEN


def answer_problems(app: FastAPI, folder: ServerFolder) -> None:
    """Let ``app`` answer every error so."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, MienError)  # noqa: S101 - by its registration
        status, sentence = status_of(error, request.method)
        log.log(
            logging.ERROR if status >= 500 else logging.INFO,
            *("event=refused path=%s status=%d reason=%s", request.url.path, status, error),
        )
        return problem(status, without_paths(sentence, folder), {"Retry-After": "5"} if status == 503 else {})

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)  # noqa: S101 - by its registration
        headers = dict(error.headers or {})
        if error.status_code == 405 and (methods := _methods(app, request.url.path)):
            headers["Allow"] = ", ".join(sorted(methods))
        return problem(error.status_code, str(error.detail), headers)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - by its registration
        return problem(422, _first(error))

    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.error("event=failed path=%s", request.url.path, exc_info=error)
        return problem(500, BROKEN)

    app.add_exception_handler(MienError, known)
    app.add_exception_handler(StarletteHTTPException, refused)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, broken)


def problem(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer."""
    return JSONResponse({"detail": sentence[:LONGEST_SENTENCE]}, status, headers)


def _methods(app: FastAPI, path: str) -> set[str]:
    """Everything that a path can be asked with: the framework names what the first of its routes can."""
    found: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            found |= {method.upper() for method in operations}
    return found


def _first(error: RequestValidationError) -> str:
    """The first thing wrong; never the value itself, which may be a secret."""
    found = error.errors()[0]
    place, *names = found["loc"] or ("request",)
    where = key_of(names) if names and found["type"] != "json_invalid" else str(place)
    said = found["msg"].replace("Input should", "should").replace("String should", "should")
    return f"{where}: {said}"
