"""The page's own files: ``index.html`` at ``/``, everything else under ``/static/``; they hold no facts."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE: Final = Path(__file__).parents[1] / "page"
INDEX: Final = "index.html"


class _Files(StaticFiles):
    """Asked for anew each time, and answered with 304 where nothing changed: an upgrade is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def page_routes(page: Path = PAGE) -> list[BaseRoute]:
    """Where the page is; nobody logs in for it."""
    files = _Files(directory=page)

    async def index(request: Request) -> Response:
        return await files.get_response(INDEX, request.scope)

    return [Route("/", index), Mount("/static", files)]
