"""The real dashboard's listener in a thread of the tests, and callers that speak to it byte by byte."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mien_server.folder import LOOPBACK, ServerFolder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.web.dashboard.access import Access
from mien_server.web.dashboard.process import dashboard_server
from mien_server.web.door import QuickHandshakes


@contextmanager
def listening(folder: ServerFolder, access: Access = Access()) -> Iterator[int]:  # noqa: B008 - frozen
    """The dashboard of ``folder`` on its port, which it yields, until the block ends."""
    history = History(history_url(folder))
    server = dashboard_server(folder, history, access)

    def serve() -> None:
        with asyncio.Runner(loop_factory=QuickHandshakes) as runner:
            runner.run(server.serve())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "it did not start"
            assert time.monotonic() < end
            time.sleep(0.01)
        yield folder.settings.dashboard_port
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        history.close()


def raw(port: int, timeout_s: float = 20.0) -> socket.socket:
    """A connection that has said nothing yet."""
    return socket.create_connection((LOOPBACK, port), timeout=timeout_s)


def asked(port: int, request: bytes) -> bytes:
    """Everything that one request, as it stands, is answered with."""
    with raw(port) as line:
        line.sendall(request)
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    return answer
