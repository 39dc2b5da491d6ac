"""The API's OpenAPI document, without a server: ``python -m mien_server.web.dashboard.document``.

Leaves: the JSON that ``/api/v1/openapi.json`` gives, too; ``docs/openapi.json`` is a copy.
"""

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from mien_server.folder import ServerFolder, ServerSettings
from mien_server.history.reader import History
from mien_server.publishing.catalogue import Catalogue
from mien_server.web.dashboard.app import api_app
from mien_server.web.dashboard.desk import Desk
from mien_server.web.dashboard.login import Gate
from mien_server.web.dashboard.moment import Moment
from mien_server.web.dashboard.sessions import Sessions
from mien_server.web.dashboard.stream import Stream
from mien_server.web.dashboard.tokens import Tokens


def document() -> dict[str, Any]:
    """What every version of this API says of itself, whatever its server's folder."""
    nowhere = ServerFolder(Path("/nonexistent"), ServerSettings())
    history, catalogue = History(URL.create("sqlite", database="/nonexistent")), Catalogue(nowhere)
    tokens = Tokens(nowhere)
    gate = Gate(tokens, Sessions(nowhere, tokens, _now), lambda: None)
    desk = Desk(nowhere, history, catalogue, Moment(nowhere, history, catalogue), gate, _now)
    return api_app(desk, Stream(desk)).openapi()


def as_text() -> str:
    """The document as ``docs/openapi.json`` holds it."""
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


if __name__ == "__main__":
    sys.stdout.write(as_text())
