"""Behind the dashboard's port: ``python -m mien_server.web.dashboard.process DIR``, a child of `up`.

A process of its own, so that whoever looks costs the federation nothing. A connection is cut when its next
request does not come, or does not end, soon, or when it takes nothing of an answer for a minute.
"""

import asyncio
import logging
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien_server.folder import ServerFolder, open_folder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.logs import log_to_stderr
from mien_server.web.dashboard.access import Access, read_access
from mien_server.web.dashboard.app import dashboard_app
from mien_server.web.dashboard.names import names
from mien_server.web.door import HEADER_LIMIT_BYTES, QuickHandshakes
from mien_server.web.refusals import Refusals

MOST_CONNECTIONS: Final = 256
REQUEST_S: Final = 15.0
"""How long the head of a request may take to come."""
IDLE_S: Final = 60
"""How long a connection may wait for its next request."""
STUCK_S: Final = 60.0
"""How long it may take nothing of what is sent."""
GOODBYE_S: Final = 2


class PatientConnection(H11Protocol):
    """A connection that may last, and is cut where nothing moves: uvicorn itself would wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = _Alarm(REQUEST_S, transport.abort)
        self._stuck = _Alarm(STUCK_S, transport.abort)
        self._late.set()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._late.set()
        else:
            self._late.stop()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck.set()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.stop()
        self._stuck.stop()
        super().connection_lost(exc)


class _Alarm:
    """Calls ``ring`` unless it is stopped in time; once it was set, setting it again changes nothing."""

    def __init__(self, after_s: float, ring: Callable[[], None]) -> None:
        self._after_s, self._ring = after_s, ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._after_s, self._ring)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def dashboard_server(
    folder: ServerFolder, history: History, access: Access, refusals: Refusals | None = None
) -> uvicorn.Server:
    """The HTTP server, or HTTPS in public, to be run in a :class:`QuickHandshakes` loop."""
    secured: dict[str, Any] = {}
    if access.public:
        certificate, key = access.files(folder)
        secured["ssl_context_factory"] = lambda _config, _default: _context(certificate, key)
    config = uvicorn.Config(
        dashboard_app(
            *(folder, history, names(folder, access)),
            is_ending=lambda: server.should_exit,
            refusals=refusals,
        ),
        host=access.listens_on(folder),
        port=folder.settings.dashboard_port,
        http=PatientConnection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=GOODBYE_S,
        h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
        **secured,
    )
    server = uvicorn.Server(config)
    return server


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


if __name__ == "__main__":
    log_to_stderr()
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a stranger's broken handshake is no event
    opened = open_folder(Path(sys.argv[1]))
    wrong = Refusals(opened, "login")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has closed
    try:
        with asyncio.Runner(loop_factory=QuickHandshakes) as runner:
            listener = dashboard_server(opened, History(history_url(opened)), read_access(opened), wrong)
            runner.run(listener.serve())
    finally:
        wrong.flush()
