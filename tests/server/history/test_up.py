"""What a server does at its start about the database that it is told to keep its history in."""

import logging

import pytest
from sqlalchemy import URL, Engine, text

from mien_common.errors import ForeignHistoryError
from mien_server import up
from mien_server.child_commands import commands
from mien_server.folder import DATABASE_VARIABLE, ServerFolder
from mien_server.history.revisions import prepare
from mien_server.web.dashboard.access import Access

from .postgres import PASSWORD, Cluster
from .test_presence import NOW


def test_a_newer_miens_database_is_refused_before_anything_starts(
    folder: ServerFolder, url: URL, engine: Engine
) -> None:
    prepare(engine, url, folder, NOW)
    with engine.begin() as connection:
        connection.execute(text("UPDATE mien_revision SET version_num = '00ff'"))
    with pytest.raises(ForeignHistoryError, match="written by a newer Mien"):
        up.serve(folder, lambda: pytest.fail("it is not ready"))
    assert not list(folder.logs.iterdir()), "no process was started"


def test_one_that_is_away_holds_up_nothing(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://mien:sesame@127.0.0.1:1/history")
    reached = RuntimeError("the children would be started now")

    def start(*_: object) -> None:
        raise reached

    monkeypatch.setattr(up, "commands", start)
    with pytest.raises(RuntimeError) as raised:
        up.serve(folder, lambda: None)
    assert raised.value is reached
    assert "event=history_away" in caplog.text
    assert "sesame" not in caplog.text


def test_only_who_uses_the_database_is_told_its_url(
    folder: ServerFolder, postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, postgres.url("history"))
    told = [
        command.name
        for command in commands(folder, Access())
        if PASSWORD in str(command.environment.values())
    ]
    assert told == ["recorder", "dashboard"]
    assert not any(PASSWORD in " ".join(command.arguments) for command in commands(folder, Access()))
