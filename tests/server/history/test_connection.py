"""Where the history is kept, as the operator says; and that a password is told to nobody."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from mien_common.errors import SettingsError, StorageError
from mien_server.folder import DATABASE_VARIABLE, ServerFolder
from mien_server.history.connection import history_url, in_words, reader_engine, writer_engine
from mien_server.history.database import open_history

from .made_history import record
from .postgres import PASSWORD, Cluster
from .test_presence import NOW


def with_database(folder: ServerFolder, database: str) -> ServerFolder:
    return ServerFolder(folder.path, folder.settings.model_copy(update={"database": database}))


def test_nothing_said_is_sqlite_in_the_folder(folder: ServerFolder) -> None:
    url = history_url(folder)
    assert (url.get_backend_name(), url.database) == ("sqlite", str(folder.state / "history.db"))


def test_the_environment_comes_before_the_settings(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = with_database(folder, "postgresql://one@db/history")
    assert history_url(chosen).username == "one"
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql+psycopg://two@db/history")
    assert history_url(chosen).username == "two"


@pytest.mark.parametrize(
    "given", ["postgresql://u:p@h:1/d", "postgres://u:p@h:1/d", "postgresql+psycopg2://u:p@h:1/d"]
)
def test_every_way_to_write_postgresql_uses_our_driver(folder: ServerFolder, given: str) -> None:
    url = history_url(with_database(folder, given))
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg://u:p@h:1/d"


def test_a_relative_file_is_in_the_servers_folder(folder: ServerFolder) -> None:
    assert history_url(with_database(folder, "sqlite:///state/h.db")).database == str(folder.state / "h.db")
    assert history_url(with_database(folder, "sqlite:////var/h.db")).database == "/var/h.db"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mysql://u:sesame@h/d", "of the kind 'mysql'. The history is kept in SQLite or PostgreSQL"),
        ("u:sesame@h", "is not the URL of a database"),
        ("sqlite://", "names no file"),
        ("postgresql://u:sesame@h:port/d", "is not the URL of a database"),
    ],
)
def test_what_is_no_database_is_refused_in_words(folder: ServerFolder, given: str, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        history_url(with_database(folder, given))
    assert words in str(raised.value)
    assert "server.toml" in str(raised.value)
    assert "sesame" not in str(raised.value)


def test_words_for_a_database_have_no_password(folder: ServerFolder) -> None:
    url = history_url(with_database(folder, "postgresql://u:sesame@h/d?password=sesame&sslmode=require"))
    assert in_words(url) == "postgresql://u:***@h/d"


@pytest.mark.parametrize("in_query", [True, False])
def test_a_wrong_password_is_told_without_it(
    folder: ServerFolder,
    postgres: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    in_query: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    right = postgres.new_database()
    wrong = right.replace(f":{PASSWORD}@", "@") + "?password=open-barley"
    monkeypatch.setenv(DATABASE_VARIABLE, wrong if in_query else right.replace(PASSWORD, "open-barley"))
    for attempt in (lambda: open_history(folder), lambda: record(folder, None, NOW)):
        with pytest.raises(StorageError, match="Does PostgreSQL run, and is the URL right") as raised:
            attempt()
        assert "password authentication failed" in str(raised.value)
        assert "open-barley" not in str(raised.value)
    assert "open-barley" not in caplog.text


def test_a_server_that_is_not_there_is_told_within_seconds(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://u:sesame@127.0.0.1:1/history")
    with pytest.raises(StorageError, match=r"postgresql://u:\*\*\*@127\.0\.0\.1:1/history, cannot be used"):
        open_history(folder)


def test_a_missing_driver_is_one_sentence(folder: ServerFolder) -> None:
    program = f"""
import sys
sys.modules["psycopg"] = None
from pathlib import Path
from mien_common.errors import StorageError
from mien_server.folder import open_folder
from mien_server.history.database import open_history
try:
    open_history(open_folder(Path({str(folder.path)!r})))
except StorageError as error:
    print(error)
"""
    environment = {DATABASE_VARIABLE: "postgresql://u@127.0.0.1:1/d"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == (
        "the history is to be kept in PostgreSQL, whose driver is not installed. Install it: "
        "pip install 'mien[server,postgres]'\n"
    ), done.stderr


def test_sqlite_waits_for_others_and_keeps_what_it_says(folder: ServerFolder) -> None:
    engine = writer_engine(history_url(folder))
    with engine.begin() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": 1}
    engine.dispose()


def test_a_folder_whose_name_is_strange_is_no_obstacle(folder: ServerFolder) -> None:
    strange = folder.path / "50% of ?#&=; 'ε'"
    strange.mkdir()
    url = history_url(with_database(folder, "")).set(database=str(strange / "history.db"))
    writer = writer_engine(url)
    with writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE here (x)")
    reader = reader_engine(url)
    with reader.begin() as connection:
        assert connection.exec_driver_sql("SELECT name FROM sqlite_master").scalar() == "here"
    writer.dispose()
    assert (strange / "history.db").is_file()


def test_no_file_is_made_where_there_is_no_folder(folder: ServerFolder, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*nowhere"):
        writer_engine(history_url(with_database(folder, f"sqlite:///{tmp_path}/nowhere/h.db")))
