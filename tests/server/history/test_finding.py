"""What ``mien server doctor`` says of the history."""

import datetime as dt

import pytest
from sqlalchemy import URL, text

from mien_common.findings import Finding
from mien_server.folder import DATABASE_VARIABLE, ServerFolder, save_settings
from mien_server.history.connection import writer_engine
from mien_server.history.finding import history_finding

from .made_history import make_history
from .postgres import PASSWORD, Cluster

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def finding(folder: ServerFolder, running: bool = True, seconds_later: float = 2) -> Finding:
    return history_finding(folder, running, NOW + dt.timedelta(seconds=seconds_later))


def test_one_that_is_kept(folder: ServerFolder, url: URL) -> None:
    with make_history(folder, NOW):
        found = finding(folder)
    assert found.state == "ok"
    assert found.found.startswith("30 events in ")
    assert PASSWORD not in str(found)


def test_one_that_is_not_there_yet(folder: ServerFolder) -> None:
    assert finding(folder, running=False).state == "warning"
    assert finding(folder, running=True).state == "fault"
    assert not (folder.state / "history.db").exists()


def test_one_that_is_behind(folder: ServerFolder, url: URL) -> None:
    with make_history(folder, NOW):
        found = finding(folder, seconds_later=45)
    assert (found.state, "nothing was taken up for 45 s" in found.found) == ("fault", True)
    assert found.remedy == f"see {folder.logs / 'recorder.log'}"
    assert finding(folder, running=False, seconds_later=45).state == "ok"


def test_a_newer_one(folder: ServerFolder, url: URL) -> None:
    with make_history(folder, NOW):
        engine = writer_engine(url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE mien_revision SET version_num = '9999'"))
        engine.dispose()
        found = finding(folder)
    assert found.state == "fault"
    assert "written by a newer Mien" in found.found
    assert "Install that Mien again" in found.remedy


def test_one_that_is_away(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://mien:sesame@127.0.0.1:1/history")
    found = finding(folder)
    assert (found.state, "Does PostgreSQL run" in found.remedy) == ("fault", True)
    assert "sesame" not in str(found)


def test_a_password_that_others_can_read(folder: ServerFolder, postgres: Cluster) -> None:
    settings = folder.settings.model_copy(update={"database": postgres.new_database()})
    chosen = ServerFolder(folder.path, settings)
    save_settings(chosen)
    with make_history(chosen, NOW):
        found = finding(chosen)
        assert (found.state, "others can read its password" in found.found) == ("warning", True)
        assert PASSWORD not in str(found)
        (folder.path / "server.toml").chmod(0o600)
        assert finding(chosen).state == "ok"
