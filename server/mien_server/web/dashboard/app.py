"""The dashboard as one app: the page, the JSON API under ``/api/v1``, the live stream, ``/metrics``.

Enters: a server's folder, and where it may be called. Leaves: an ASGI app that answers nobody who is not
known, and tells only facts (:mod:`mien_server.facts`).
"""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from mien_common.versions import MIEN_VERSION
from mien_server.folder import ServerFolder
from mien_server.history.reader import History
from mien_server.publishing.catalogue import Catalogue
from mien_server.web.dashboard import (
    api_metrics,
    api_models,
    api_releases,
    api_runs,
    api_session,
    api_status,
    api_stream,
)
from mien_server.web.dashboard.desk import Desk
from mien_server.web.dashboard.guard import Guard, Hosts
from mien_server.web.dashboard.login import Gate
from mien_server.web.dashboard.moment import Moment
from mien_server.web.dashboard.page import page_routes
from mien_server.web.dashboard.problems import answer_problems
from mien_server.web.dashboard.sessions import Sessions
from mien_server.web.dashboard.stream import Stream
from mien_server.web.dashboard.tokens import Tokens
from mien_server.web.refusals import Refusals

API: Final = "/api/v1"
DESCRIPTION: Final = (
    "What goes on in a federation, for machines: the same facts as on the operator's page. Two roles: an "
    "`operator` may do everything, a `viewer` may only look. Moments are UTC, ISO 8601; what is not known is "
    'null. Errors are `{"detail": "..."}`.'
)
TAGS: Final = [
    {"name": "session", "description": "Who may ask."},
    {"name": "what goes on", "description": "This moment, and what led to it."},
    {"name": "runs", "description": "Rounds of training with the same settings."},
    {"name": "models", "description": "What every round publishes."},
    {"name": "releases", "description": "Models that were signed for sites to use."},
]

Clock = Callable[[], dt.datetime]


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def dashboard_app(
    folder: ServerFolder,
    history: History,
    names: Iterable[str] = (),
    clock: Clock = _now,
    is_ending: Callable[[], bool] = lambda: False,
    refusals: Refusals | None = None,
) -> Guard:
    """The whole dashboard behind its guard.

    Parameters
    ----------
    names : by which browsers may call it, besides ``localhost`` and every address.
    is_ending : whether this process is about to end.
    refusals : counts wrong tokens; whoever gives it flushes it in the end.
    """
    tokens = Tokens(folder)
    gate = Gate(tokens, Sessions(folder, tokens, clock), (refusals or Refusals(folder, "login")).count)
    catalogue = Catalogue(folder)
    desk = Desk(folder, history, catalogue, Moment(folder, history, catalogue), gate, clock)
    return Guard(api_app(desk, Stream(desk, is_ending)), Hosts(names))


def api_app(desk: Desk, stream: Stream) -> FastAPI:
    """Page and API, without the guard."""
    app = FastAPI(
        title="Mien's dashboard",
        summary="Runs, rounds, sites, models and releases of a federation.",
        description=DESCRIPTION,
        version=MIEN_VERSION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        openapi_tags=list(TAGS),
        generate_unique_id_function=_operation,
        redirect_slashes=False,  # to the name that the caller gave as ours
    )
    app.state.desk = desk
    app.state.stream = stream
    answer_problems(app, desk.folder)
    for module in (api_session, api_status, api_stream, api_runs, api_models, api_releases):
        router: APIRouter = module.router
        app.include_router(router, prefix=API)
    app.include_router(api_metrics.router)
    app.router.routes.extend(page_routes())
    return app


def _operation(route: APIRoute) -> str:
    """The function's name, for who generates a client."""
    return route.name
