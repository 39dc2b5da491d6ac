"""What no request gets past: hosts and pages of others, bodies too large, too slow, or no JSON."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien_server.web.dashboard import guard as guard_module
from mien_server.web.dashboard.guard import BODY_LIMIT_BYTES, CONTENT_POLICY, Guard, Hosts

from .callers import Caller

Callers = Callable[..., Caller]
LOGIN = "/api/v1/login"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9096",
        "LOCALHOST.:8080",
        "127.0.0.1:9096",
        "192.0.2.7:443",
        "[::1]:9096",
        "[::1]",
        "mien.example.org",
        "Mien.Example.Org:9096",
        "a.lab.example.org",
    ],
)
def test_our_names_and_every_address_are_answered(dashboard: Callers, host: str) -> None:
    assert dashboard(Host=host).get("/api/v1/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:9096",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
        "mien.example.org.attacker.example",
        "a.b.lab.example.org",
        "lab.example.org",
        "*.lab.example.org",
        "localhost:9096:9096",
        "localhost:x",
        "127.1",
        "0x7f.1",
        "[::1",
        "user@localhost",
        "localhost/x",
        "",
        " ",
    ],
)
def test_a_page_whose_name_was_made_to_point_here_gets_nothing(dashboard: Callers, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/api/v1/status"), ("POST", LOGIN)):
        answer = dashboard(Host=host).request(method, path)
        assert answer.status_code == 421
        assert "hosts in server.toml" in answer.json()["detail"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://attacker.example",
        "null",
        "http://127.0.0.1:8080",
        "http://127.0.0.1:9096.x",
        "http://localhost:9096",
        "",
    ],
)
@pytest.mark.parametrize("path", [LOGIN, "/api/v1/logout", "/api/v1/runs", "/api/v1/runs/a/stop"])
def test_another_site_s_page_can_do_nothing(dashboard: Callers, origin: str, path: str) -> None:
    answer = dashboard(Origin=origin).post(path, json={"token": "x"})
    assert (answer.status_code, answer.json()) == (403, {"detail": "another site's page may not do this"})


def test_our_own_page_can(dashboard: Callers) -> None:
    for origin in ("http://127.0.0.1:9096", "https://127.0.0.1:9096"):
        assert dashboard(Origin=origin).post(LOGIN, json={"token": "x"}).status_code == 401


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "x"]
)
def test_only_json_is_looked_at(dashboard: Callers, kind: str) -> None:
    answer = dashboard().post(LOGIN, content=b'{"token": "x"}', headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"nul",
        b"[" * 30_000,
        b'{"token":' * 7000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"[1" + b"0" * 20_000 + b"]",
        b'{"token": NaN}',
        b'{"token": "\\ud800"}',
        b'{"token": "x", "token": 5}',
    ],
)
def test_malformed_and_deep_json_is_refused_and_nothing_breaks(operator: Caller, body: bytes) -> None:
    for path in (LOGIN, "/api/v1/runs", "/api/v1/releases"):
        answer = operator.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 401, 422), answer.text
        assert len(answer.content) < 1000


def test_a_large_body_is_cut_off_however_it_comes(dashboard: Callers) -> None:
    json_ = {"Content-Type": "application/json"}
    assert dashboard().post(LOGIN, content=b" " * (BODY_LIMIT_BYTES + 1), headers=json_).status_code == 413
    read: list[int] = []

    async def for_ever() -> Any:
        while len(read) < 10_000:
            read.append(1)
            yield b" " * 1024

    assert dashboard().post(LOGIN, content=for_ever(), headers=json_).status_code == 413
    assert len(read) <= 10_000
    lying = {**json_, "Content-Length": "1" + "0" * 30}
    assert dashboard().post(LOGIN, content=b"{}", headers=lying).status_code == 413


def answer_of(app: ASGIApp, receive: Receive, method: str = "POST") -> list[Message]:
    """What an app sends over ASGI itself."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": method, "path": "/", "headers": [(b"host", b"localhost")]}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent


async def _never(_: Scope, __: Receive, ___: Send) -> None:
    raise AssertionError("it was let through")


def test_a_slow_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "BODY_PATIENCE_S", 0.05)

    async def slowly() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    start, body = answer_of(Guard(_never, Hosts([])), slowly)
    assert (start["status"], json.loads(body["body"])) == (408, {"detail": "the request came too slowly"})


def test_who_hangs_up_is_not_answered() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    assert answer_of(Guard(_never, Hosts([])), gone) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/static/nothing"),
        ("GET", "/nothing"),
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/openapi.json"),
        ("POST", LOGIN),
        ("DELETE", "/api/v1/runs"),
        ("OPTIONS", "/api/v1/runs"),
        ("TRACE", "/api/v1/runs"),
        ("PROPFIND", "/"),
    ],
)
def test_every_answer_tells_the_browser_to_take_nothing_from_elsewhere(
    dashboard: Callers, method: str, path: str
) -> None:
    answer = dashboard(Origin="http://127.0.0.1:9096").request(method, path)
    assert answer.headers["content-security-policy"] == CONTENT_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] in ("no-store", "no-cache")
    assert not [name for name in answer.headers if name.startswith("access-control")], "no CORS"
    assert "server" not in answer.headers


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "TRACE", "PUT", "HEAD"])
def test_other_methods_are_not_allowed(dashboard: Callers, method: str) -> None:
    answer = dashboard().request(method, "/api/v1/runs")
    assert answer.status_code == 405
    assert answer.headers["allow"]


def test_no_address_is_another_s(dashboard: Callers) -> None:
    """No redirect to a name that the caller gave, and none for a slash too many."""
    for path in ("/api/v1/runs/", "/api/v1//runs", "/static"):
        answer = dashboard().get(path)
        assert answer.status_code in (401, 404), (path, answer.status_code)
        assert "location" not in answer.headers
