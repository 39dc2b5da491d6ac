"""The process behind the enrolment port: ``python -m mien_server.web.door DIR``, kept running by `up`.

A process of its own, so that a flood of strangers costs the federation nothing. It listens with the server's
own certificate; a connection lives for twenty seconds at most, whatever it does or does not send.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien_server.folder import ServerFolder, open_folder
from mien_server.logs import log_to_stderr
from mien_server.membership.enrolment import register
from mien_server.web.enrolment_app import EnrolmentDoor
from mien_server.web.listener import Certificate, Manners, listener, run

CONNECTION_S: Final = 20.0
MANNERS: Final = Manners(most_connections=100, idle_s=2, goodbye_s=1)


class ShortConnection(H11Protocol):
    """A connection that is cut after a while, whatever it does."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


def register_all(folder: ServerFolder) -> None:
    """Tell the running SuperLink who is enrolled and who is refused."""
    from mien_server.control import Control  # seconds to load, and not needed to refuse a stranger

    with Control(folder) as control:
        register(folder, control)


def door_server(folder: ServerFolder, door: EnrolmentDoor) -> uvicorn.Server:
    """The HTTPS server around a door."""
    settings = folder.settings
    return listener(
        *(door.app(), settings.listen, settings.enrol_port, MANNERS, ShortConnection),
        Certificate(folder.tls / "server.crt", folder.tls / "server.key"),
    )


if __name__ == "__main__":
    log_to_stderr()
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a stranger's broken handshake is no event
    opened = open_folder(Path(sys.argv[1]))
    door = EnrolmentDoor(opened, lambda: register_all(opened))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has closed
    try:
        run(door_server(opened, door))
    finally:
        door.refusals.flush()
