"""The real dashboard's listener in a thread of the tests, and callers that speak to it byte by byte."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from mien_server.folder import LOOPBACK, ServerFolder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.web.dashboard.access import Access
from mien_server.web.dashboard.process import dashboard_server

from ...listener_thread import running


@contextmanager
def listening(folder: ServerFolder, access: Access = Access()) -> Iterator[int]:  # noqa: B008 - frozen
    """The dashboard of ``folder`` on its port, which it yields, until the block ends."""
    history = History(history_url(folder))
    try:
        with running(dashboard_server(folder, history, access)):
            yield folder.settings.dashboard_port
    finally:
        history.close()


def raw(port: int, timeout_s: float = 60.0) -> socket.socket:
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
