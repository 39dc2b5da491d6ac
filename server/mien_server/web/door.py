"""The process behind the enrolment port: ``python -m mien_server.web.door DIR``, kept running by `up`.

A process of its own, so that a flood of strangers costs the federation nothing. It listens with the server's
own certificate; a connection lives for twenty seconds at most, whatever it does or does not send.
"""

import asyncio
import logging
import signal
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien_server.folder import ServerFolder, open_folder
from mien_server.logs import log_to_stderr
from mien_server.membership.enrolment import register
from mien_server.web.enrolment_app import EnrolmentDoor

HANDSHAKE_S: Final = 5.0
CONNECTION_S: Final = 20.0
MOST_CONNECTIONS: Final = 100
HEADER_LIMIT_BYTES: Final = 16 * 1024
GOODBYE_S: Final = 1


class ShortConnection(H11Protocol):
    """A connection that is cut after a while: uvicorn itself waits for ever for a slow client's headers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


class QuickHandshakes(asyncio.SelectorEventLoop):
    """A loop whose TLS handshakes have to be quick; asyncio's own patience is a minute."""

    async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = HANDSHAKE_S
        return await super().create_server(*arguments, **options)


def register_all(folder: ServerFolder) -> None:
    """Tell the running SuperLink who is enrolled and who is refused."""
    from mien_server.control import Control  # seconds to load, and not needed to refuse a stranger

    with Control(folder) as control:
        register(folder, control)


def door_server(folder: ServerFolder, door: EnrolmentDoor) -> uvicorn.Server:
    """The HTTPS server around a door, to be run in a :class:`QuickHandshakes` loop."""
    config = uvicorn.Config(
        door.app(),
        host=folder.settings.listen,
        port=folder.settings.enrol_port,
        http=ShortConnection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=MOST_CONNECTIONS,
        timeout_keep_alive=2,
        timeout_graceful_shutdown=GOODBYE_S,
        h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
        ssl_context_factory=lambda _config, _default: server_context(folder.tls),
    )
    return uvicorn.Server(config)


def server_context(tls: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the server's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls / "server.crt", tls / "server.key")
    return context


if __name__ == "__main__":
    log_to_stderr()
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a stranger's broken handshake is no event
    opened = open_folder(Path(sys.argv[1]))
    door = EnrolmentDoor(opened, lambda: register_all(opened))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has closed
    try:
        with asyncio.Runner(loop_factory=QuickHandshakes) as runner:
            runner.run(door_server(opened, door).serve())
    finally:
        door.refusals.flush()
