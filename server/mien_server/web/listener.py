"""How each of our HTTP listeners listens: bounded in everything, and never waiting for ever.

uvicorn itself waits without end for a slow client's headers, and for one that takes nothing of its answer.

    run(listener(app, LOOPBACK, 9096, manners, PatientConnection, certificate=None))
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_LIMIT_BYTES: Final = 16 * 1024
HANDSHAKE_S: Final = 5.0
REQUEST_S: Final = 15.0
"""How long the head of a request may take to come."""
STUCK_S: Final = 60.0
"""How long a connection may take nothing of what is sent."""


@dataclass(frozen=True)
class Manners:
    """What a listener allows its callers."""

    most_connections: int
    idle_s: int
    """How long a connection may wait for its next request."""
    goodbye_s: int
    """How long those that are being answered may take once the listener is told to end."""


@dataclass(frozen=True)
class Certificate:
    """What a listener shows, as PEM files."""

    chain: Path
    key: Path


class PatientConnection(H11Protocol):
    """A connection that may last, and is cut where nothing moves."""

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


class _QuickHandshakes(asyncio.SelectorEventLoop):
    """A loop whose TLS handshakes have to be quick; asyncio's own patience is a minute."""

    async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = HANDSHAKE_S
        return await super().create_server(*arguments, **options)


def listener(
    app: Any,
    host: str,
    port: int,
    manners: Manners,
    connection: type[H11Protocol],
    certificate: Certificate | None,
) -> uvicorn.Server:
    """An ASGI app's HTTPS listener, or its HTTP listener without a certificate, for :func:`run`.

    Nothing is logged of a request: who asked for what is nobody's business.
    """
    secured: dict[str, Any] = {}
    if certificate is not None:
        secured["ssl_context_factory"] = lambda _config, _default: _context(certificate)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=manners.most_connections,
        backlog=manners.most_connections,
        timeout_keep_alive=manners.idle_s,
        timeout_graceful_shutdown=manners.goodbye_s,
        h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
        **secured,
    )
    return uvicorn.Server(config)


def run(server: uvicorn.Server) -> None:
    """Serve until a signal ends it, or ``server.should_exit``."""
    with asyncio.Runner(loop_factory=_QuickHandshakes) as runner:
        runner.run(server.serve())


def _context(certificate: Certificate) -> ssl.SSLContext:
    """TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.chain, certificate.key)
    return context
