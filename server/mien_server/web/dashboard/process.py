"""Behind the dashboard's port: ``python -m mien_server.web.dashboard.process DIR``, a child of `up`.

A process of its own, so that whoever looks costs the federation nothing.
"""

import logging
import signal
import sys
from pathlib import Path
from typing import Final

import uvicorn

from mien_server.folder import ServerFolder, open_folder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.logs import log_to_stderr
from mien_server.web.dashboard.access import Access, read_access
from mien_server.web.dashboard.app import dashboard_app
from mien_server.web.dashboard.names import names
from mien_server.web.listener import Certificate, Manners, PatientConnection, listener, run
from mien_server.web.refusals import Refusals

MANNERS: Final = Manners(most_connections=256, idle_s=60, goodbye_s=2)


def dashboard_server(
    folder: ServerFolder, history: History, access: Access, refusals: Refusals | None = None
) -> uvicorn.Server:
    """The HTTP server, or HTTPS in public."""
    app = dashboard_app(
        *(folder, history, names(folder, access)),
        is_ending=lambda: server.should_exit,
        refusals=refusals,
    )
    server = listener(
        *(app, access.listens_on(folder), folder.settings.dashboard_port, MANNERS, PatientConnection),
        Certificate(*access.files(folder)) if access.public else None,
    )
    return server


if __name__ == "__main__":
    log_to_stderr()
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a stranger's broken handshake is no event
    opened = open_folder(Path(sys.argv[1]))
    wrong = Refusals(opened, "login")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has closed
    try:
        run(dashboard_server(opened, History(history_url(opened)), read_access(opened), wrong))
    finally:
        wrong.flush()
