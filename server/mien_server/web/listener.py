"""An app served over HTTPS with the server's own certificate, by uvicorn, until a signal ends it."""

import logging
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from mien_server.folder import ServerFolder
from mien_server.web.releases import releases_app

LONGEST_REQUEST_BYTES: Final = 16 * 1024
MOST_CONNECTIONS: Final = 128
IDLE_S: Final = 10
STOP_PATIENCE_S: Final = 1

log = logging.getLogger(__name__)


def serve_releases(folder: ServerFolder) -> None:
    """Answer on ``releases_port`` of the address that agents connect to."""
    settings = folder.settings
    app = Starlette(routes=[Mount("/releases", app=releases_app(folder))])
    app.router.redirect_slashes = False
    config = uvicorn.Config(
        app,
        host=settings.listen,
        port=settings.releases_port,
        ssl_certfile=str(folder.tls / "server.crt"),
        ssl_keyfile=str(folder.tls / "server.key"),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,  # our own lines, and none per request: who fetched what is nobody's business
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=LONGEST_REQUEST_BYTES,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_PATIENCE_S,
    )
    log.info("event=releases_served port=%d", settings.releases_port)
    uvicorn.Server(config).run()
