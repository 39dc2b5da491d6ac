"""Who is let in, and who is not: tokens, cookies, roles, and the limit on wrong tries."""

import datetime as dt
import logging
import time
from collections.abc import Callable

import pytest

from mien_common.versions import MIEN_VERSION
from mien_server.folder import ServerFolder
from mien_server.web.dashboard.sessions import SESSION_LASTS
from mien_server.web.dashboard.tokens import new_token

from .callers import Caller
from .conftest import NOW, Clock

Callers = Callable[..., Caller]

EVERYTHING = (
    *(("GET", path) for path in ("session", "status", "stream", "sites", "events", "runs", "models")),
    *(("GET", path) for path in ("releases", "runs/a", "runs/a/rounds", "runs/a/sites", "models/a/1")),
    *(("GET", path) for path in ("models/a/1/files/card.json", "releases/1.0.0/files/card.json")),
    ("GET", "comparison?first=a/1&second=a/2"),
    *(("POST", path) for path in ("runs", "runs/a/stop", "runs/a/resume", "releases")),
    ("PUT", "releases/latest"),
)


def log_in(caller: Caller, token: str) -> int:
    return caller.post("/api/v1/login", json={"token": token}).status_code


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_strangers_are_told_nothing(dashboard: Callers, method: str, path: str) -> None:
    for headers in ({}, {"Cookie": "mien_session=x"}, {"Cookie": "mien_session="}):
        answer = dashboard(**headers).request(method, f"/api/v1/{path}", json={} if method != "GET" else None)
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "Authorization: Bearer TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_day_on_the_page(folder: ServerFolder, dashboard: Callers, clock: Clock, role: str) -> None:
    token = new_token(folder, role, NOW)  # type: ignore[arg-type]
    page = dashboard()
    opened = page.post("/api/v1/login", json={"token": token})
    assert (opened.status_code, opened.json()) == (200, {"role": role, "version": MIEN_VERSION})
    cookie = opened.headers["set-cookie"].lower()
    for word in ("httponly", "samesite=strict", "path=/", "max-age=43200"):
        assert word in cookie
    assert "secure" not in cookie, "plain http on this machine"
    assert token.lower() not in cookie
    assert page.get("/api/v1/session").json() == {"role": role, "version": MIEN_VERSION}
    clock.now += SESSION_LASTS - dt.timedelta(minutes=1)
    assert page.get("/api/v1/session").status_code == 200
    clock.now += dt.timedelta(minutes=1)
    assert page.get("/api/v1/session").status_code == 401, "twelve hours"


def test_over_tls_the_cookie_stays_there(folder: ServerFolder, dashboard: Callers) -> None:
    page = dashboard()
    page.address = "https://127.0.0.1:9096"
    opened = page.post("/api/v1/login", json={"token": new_token(folder, "viewer", NOW)})
    assert "secure" in opened.headers["set-cookie"].lower()


def test_a_cookie_that_was_copied_ends_with_the_session(folder: ServerFolder, dashboard: Callers) -> None:
    page, thief = dashboard(), dashboard()
    assert log_in(page, new_token(folder, "operator", NOW)) == 200
    thief.cookies.update(page.cookies)
    assert thief.get("/api/v1/session").status_code == 200
    closed = page.post("/api/v1/logout")
    assert (closed.status_code, closed.content) == (204, b"")
    assert "mien_session" not in page.cookies
    assert thief.get("/api/v1/session").status_code == 401
    assert dashboard().post("/api/v1/logout").status_code == 204, "nobody to log out"


def test_a_new_token_ends_sessions_and_what_bears_the_old_one(
    folder: ServerFolder, dashboard: Callers
) -> None:
    old = new_token(folder, "operator", NOW)
    page, program = dashboard(), dashboard(Authorization=f"Bearer {old}")
    assert log_in(page, old) == 200
    assert program.get("/api/v1/session").status_code == 200
    new_token(folder, "operator", NOW)
    for caller in (page, program):
        assert caller.get("/api/v1/session").status_code == 401
    assert log_in(page, old) == 401


@pytest.mark.parametrize(("method", "path"), [each for each in EVERYTHING if each[0] != "GET"])
def test_a_viewer_only_looks(
    folder: ServerFolder, dashboard: Callers, viewer: Caller, method: str, path: str
) -> None:
    page = dashboard()
    assert log_in(page, new_token(folder, "viewer", NOW)) == 200
    bodies = {
        "runs": {"rounds": 1},
        "releases": {"run": "a", "round": 1},
        "releases/latest": {"version": "1.0.0"},
    }
    answer = page.request(method, f"/api/v1/{path}", json=bodies.get(path))
    assert answer.status_code == 403
    assert "a viewer may look, not do" in answer.json()["detail"]


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic eDp5", "Bearer a b", "x", "Bearer \xff"])
def test_odd_headers_are_nobody(dashboard: Callers, header: str) -> None:
    answer = dashboard().get("/api/v1/session", headers={b"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_wrong_tokens_are_counted_and_a_right_one_has_to_wait(
    folder: ServerFolder, dashboard: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    right, page = new_token(folder, "operator", NOW), dashboard()
    other = dashboard()
    assert log_in(other, right) == 200
    guesses = [f"guess-{number}" for number in range(10)]
    assert [log_in(page, guess) for guess in guesses] == [401] * 10
    limited = page.post("/api/v1/login", json={"token": right})
    assert limited.status_code == 429
    assert 0 < int(limited.headers["retry-after"]) <= 600
    assert "Wait 10 min" in limited.json()["detail"]
    # Who is in stays in; and a program's header is another door.
    assert other.get("/api/v1/session").status_code == 200
    assert dashboard(Authorization=f"Bearer {right}").get("/api/v1/session").status_code == 200
    assert not [guess for guess in (*guesses, right) if guess in caplog.text]


def test_a_program_with_an_old_token_keeps_nobody_from_the_page(
    folder: ServerFolder, dashboard: Callers
) -> None:
    right = new_token(folder, "viewer", NOW)
    program = dashboard(Authorization="Bearer old")
    assert [program.get("/api/v1/status").status_code for _ in range(12)] == [401] * 10 + [429] * 2
    assert log_in(dashboard(), right) == 200


def test_a_page_left_open_is_no_guess(folder: ServerFolder, dashboard: Callers) -> None:
    page = dashboard(Cookie="mien_session=long-over")
    assert {page.get("/api/v1/session").status_code for _ in range(30)} == {401}
    assert log_in(dashboard(), new_token(folder, "viewer", NOW)) == 200


def test_refusals_are_in_the_log_of_events_without_a_word_of_who(
    folder: ServerFolder, dashboard: Callers
) -> None:
    from mien_server.server_events import events_file

    page = dashboard()
    for _ in range(5):
        log_in(page, "guess")
    deadline = time.monotonic() + 60
    # The file is there a moment before its first line is.
    while not events_file(folder).exists() or not events_file(folder).read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lines = events_file(folder).read_text().splitlines()
    assert len(lines) == 1, "at most one a minute"
    assert '"how": "login"' in lines[0]
    assert "guess" not in lines[0]
    assert "127" not in lines[0].partition('"how"')[2]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": 5},
        {"token": ""},
        {"token": "x" * 257},
        {"token": None},
        {"token": "x", "role": "operator"},
        [],
        "x",
        None,
    ],
)
def test_what_is_no_login_is_said_without_repeating_it(dashboard: Callers, body: object) -> None:
    answer = dashboard().post("/api/v1/login", json=body)
    assert answer.status_code == 422
    assert "x" * 20 not in answer.text
