"""What the routes work with: one server's folder, its history, who may ask, and the time."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from mien_server.folder import ServerFolder
from mien_server.history.reader import History
from mien_server.publishing.catalogue import Catalogue
from mien_server.web.dashboard.login import Gate
from mien_server.web.dashboard.moment import Moment


@dataclass(frozen=True)
class Desk:
    """Everything an answer needs."""

    folder: ServerFolder
    history: History
    catalogue: Catalogue
    moment: Moment
    gate: Gate
    clock: Callable[[], dt.datetime]


async def _desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found


AtDesk = Annotated[Desk, Depends(_desk)]
