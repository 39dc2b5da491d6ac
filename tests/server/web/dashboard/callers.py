"""Who calls the dashboard, in the tests' own process: a browser with cookies, or a program with a token."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp

ADDRESS = "http://127.0.0.1:9096"


class Caller:
    """Asks an app, a request at a time."""

    def __init__(self, app: ASGIApp, headers: dict[str, str] | None = None, address: str = ADDRESS) -> None:
        self._app, self._headers, self.address = app, headers or {}, address
        self.cookies = httpx.Cookies()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One answer; what fails inside is answered, too, as over the network."""
        return asyncio.run(self._request(method, path, **options))

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=self.address, headers=self._headers, cookies=self.cookies
        ) as client:
            answer = await client.request(method, path, **options)
            self.cookies = client.cookies
        return answer
