"""What every request passes before anything of it is understood, and what every answer bears.

Enters: a request. Leaves: the same with a small, whole body; or a refusal, for another host's name (DNS
rebinding), another site's page (CSRF), a body that is no JSON, too large or too slow. Every answer tells the
browser to load nothing from elsewhere and to show it in no frame.
"""

import asyncio
import ipaddress
import json
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT_BYTES: Final = 64 * 1024
BODY_PATIENCE_S: Final = 10.0
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Hosts:
    """By which names a browser may call this server.

    Any address will do: somebody else's page whose name was made to point here still calls by that name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in ("localhost", *names))

    def knows(self, host: str) -> bool:
        """Whether ``host``, as a request's header has it, is one of them."""
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
        if not all(character in "0123456789" for character in port):
            return False
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            name = name.lower().rstrip(".")
            first, _, rest = name.partition(".")
            return first != "*" and (name in self._names or f"*.{rest}" in self._names)
        return True


class Guard:
    """The app behind its guard, itself an ASGI app."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None and scope["method"] not in SAFE_METHODS:
            body = await _body(headers, receive)
            if body is None:
                return
            if isinstance(body, tuple):
                refusal = body
            else:
                receive = _again(body, receive)
        if refusal is not None:
            await _answer(*refusal, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._hosts.knows(host):
            return 421, (
                "this server is not called so. Use its address, or add the name to hosts in server.toml and "
                "start it again."
            )
        origin = headers.get("origin")
        if scope["method"] in SAFE_METHODS or origin is None:
            return None
        if origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return 403, "another site's page may not do this"
        return None


async def _body(headers: Headers, receive: Receive) -> bytes | tuple[int, str] | None:
    """The whole body, or why not; None where the caller has gone."""
    too_large = 413, f"a request may have {BODY_LIMIT_BYTES} bytes"
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > BODY_LIMIT_BYTES:
        return too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_PATIENCE_S):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > BODY_LIMIT_BYTES:
                    return too_large
    except TimeoutError:
        return 408, "the request came too slowly"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        return 415, "send JSON, and say so: Content-Type: application/json"
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` for a request whose body was read already."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


async def _answer(status: int, sentence: str, send: Send) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
