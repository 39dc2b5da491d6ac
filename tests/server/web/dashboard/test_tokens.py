"""Tokens and sessions: shown once, kept as hashes, gone when they are replaced, closed or over."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien_common.errors import StorageError
from mien_server.folder import ServerFolder
from mien_server.web.dashboard import sessions as sessions_module
from mien_server.web.dashboard.sessions import MOST_SESSIONS, SESSION_LASTS, Sessions
from mien_server.web.dashboard.tokens import Tokens, digest_of, first_token, new_token, tokens_file

from .conftest import NOW, Clock


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Files that nobody looked after would be everybody's."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_token_opens_by_its_role_only_and_is_kept_as_a_hash(folder: ServerFolder) -> None:
    operator, viewer = new_token(folder, "operator", NOW), new_token(folder, "viewer", NOW)
    tokens = Tokens(folder)
    assert (tokens.role_of(operator), tokens.role_of(viewer)) == ("operator", "viewer")
    for wrong in ("", operator[:-1], operator + "x", digest_of(operator), "é" * 40, "\ud800", "x" * 10**6):
        assert tokens.role_of(wrong) is None
    assert re.fullmatch(r"[\w-]{43}", operator), "256 bits"
    kept = tokens_file(folder)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert operator not in kept.read_text()
    assert viewer not in kept.read_text()


def test_a_new_token_replaces_that_role_s_at_once(folder: ServerFolder) -> None:
    tokens = Tokens(folder)
    first, viewer = new_token(folder, "operator", NOW), new_token(folder, "viewer", NOW)
    assert tokens.role_of(first) == "operator"
    second = new_token(folder, "operator", NOW)
    assert (tokens.role_of(first), tokens.role_of(second)) == (None, "operator")
    assert tokens.role_of(viewer) == "viewer"


def test_only_the_first_start_makes_a_token(folder: ServerFolder) -> None:
    first = first_token(folder, NOW)
    assert first is not None
    assert first_token(folder, NOW) is None
    assert Tokens(folder).role_of(first) == "operator"


def test_before_there_is_a_token_nobody_is_known(folder: ServerFolder) -> None:
    assert Tokens(folder).role_of("") is None
    assert Tokens(folder).role_of("x") is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"operator": {"sha256": ""}}', b"\xff", b"[" * 9000])
def test_a_damaged_file_lets_nobody_in_and_a_new_token_mends_it(
    folder: ServerFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    old = new_token(folder, "operator", NOW)
    tokens_file(folder).write_bytes(content)
    assert Tokens(folder).role_of(old) is None
    assert Tokens(folder).role_of("") is None
    assert "mien server token" in caplog.text
    assert Tokens(folder).role_of(new_token(folder, "operator", NOW)) == "operator"


def test_the_command_prints_a_token_and_nothing_else_that_a_script_would_read(folder: ServerFolder) -> None:
    command = [sys.executable, "-m", "mien_common", "server", "token", "--role", "viewer", "--dir"]
    made = subprocess.run(
        [*command, str(folder.path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert Tokens(folder).role_of(made.stdout.strip()) == "viewer"
    assert f"http://127.0.0.1:{folder.settings.dashboard_port}" in made.stderr
    assert made.stdout.strip() not in made.stderr


class TestSessions:
    def test_a_session_lasts_twelve_hours_and_a_restart(self, folder: ServerFolder, clock: Clock) -> None:
        new_token(folder, "operator", NOW)
        key = Sessions(folder, Tokens(folder), clock).open("operator")
        after_a_restart = Sessions(folder, Tokens(folder), clock)
        clock.now += SESSION_LASTS - dt.timedelta(seconds=1)
        found = after_a_restart.find(key)
        assert found is not None
        assert found.role == "operator"
        clock.now += dt.timedelta(seconds=1)
        assert after_a_restart.find(key) is None

    def test_it_ends_when_it_is_closed_everywhere(self, folder: ServerFolder, clock: Clock) -> None:
        new_token(folder, "viewer", NOW)
        sessions = Sessions(folder, Tokens(folder), clock)
        key, other = sessions.open("viewer"), sessions.open("viewer")
        sessions.close(key)
        for each in (sessions, Sessions(folder, Tokens(folder), clock)):
            assert each.find(key) is None
            assert each.find(other) is not None

    def test_it_ends_with_its_token_and_only_that_role_s(self, folder: ServerFolder, clock: Clock) -> None:
        new_token(folder, "operator", NOW)
        new_token(folder, "viewer", NOW)
        sessions = Sessions(folder, Tokens(folder), clock)
        operator, viewer = sessions.open("operator"), sessions.open("viewer")
        new_token(folder, "operator", NOW)
        assert sessions.find(operator) is None
        assert sessions.find(viewer) is not None

    @pytest.mark.usefixtures("open_umask")
    def test_keys_are_kept_as_hashes_and_cannot_be_made_up(self, folder: ServerFolder, clock: Clock) -> None:
        new_token(folder, "operator", NOW)
        sessions = Sessions(folder, Tokens(folder), clock)
        key = sessions.open("operator")
        kept = folder.state / "dashboard_sessions.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert key not in kept.read_text()
        (digest,) = json.loads(kept.read_text())
        for wrong in (digest, "", key[:-1], "\ud800", "x" * 10**6):
            assert sessions.find(wrong) is None

    def test_there_are_never_more_than_so_many(self, folder: ServerFolder, clock: Clock) -> None:
        new_token(folder, "viewer", NOW)
        sessions = Sessions(folder, Tokens(folder), clock)
        first = sessions.open("viewer")
        clock.now += dt.timedelta(seconds=1)
        others = [sessions.open("viewer") for _ in range(MOST_SESSIONS)]
        assert sessions.find(first) is None
        assert all(sessions.find(key) for key in others)

    def test_a_full_disk_keeps_nobody_out_and_brings_no_closed_session_back(
        self, folder: ServerFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, *_: object, **__: object) -> None:
            raise StorageError("No space left on device")

        new_token(folder, "operator", NOW)
        sessions = Sessions(folder, Tokens(folder), clock)
        closed = sessions.open("operator")
        monkeypatch.setattr(sessions_module, "write_atomic", full)
        key = sessions.open("operator")
        sessions.close(closed)
        assert sessions.find(key) is not None
        assert Sessions(folder, Tokens(folder), clock).find(closed) is None

    @pytest.mark.parametrize("content", [b"", b"[]", b'{"x": {}}', b"[" * 9000])
    def test_a_damaged_file_means_that_everybody_logs_in_again(
        self, folder: ServerFolder, clock: Clock, content: bytes
    ) -> None:
        new_token(folder, "operator", NOW)
        key = Sessions(folder, Tokens(folder), clock).open("operator")
        (folder.state / "dashboard_sessions.json").write_bytes(content)
        again = Sessions(folder, Tokens(folder), clock)
        assert again.find(key) is None
        assert again.find(again.open("operator")) is not None
