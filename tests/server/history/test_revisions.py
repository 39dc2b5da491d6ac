"""The form of the tables: made once, by one at a time, whole or not at all; and never taken from others."""

import datetime as dt
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, inspect, text

from mien_common.errors import ForeignHistoryError, StorageError
from mien_server.folder import ServerFolder
from mien_server.history import revisions
from mien_server.history.connection import history_url, writer_engine
from mien_server.history.database import check_history, open_history
from mien_server.history.revisions import differences, head, own_id, prepare, revision_of

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def tables(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def test_migrations_make_what_the_tables_say(engine: Engine, url: URL, folder: ServerFolder) -> None:
    prepare(engine, url, folder, NOW)
    with engine.connect() as connection:
        assert revision_of(connection) == head()
        assert differences(connection) == []


def test_preparing_again_changes_nothing(engine: Engine, url: URL, folder: ServerFolder) -> None:
    prepare(engine, url, folder, NOW)
    prepare(engine, url, folder, NOW + dt.timedelta(days=1))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM server")).scalar() == 1


def test_two_at_once_are_safe(url: URL, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien_server.history.connection.BUSY_S", 60.0)  # six wait for each other
    own_id(folder)

    def once(_: int) -> None:
        engine = writer_engine(url)
        try:
            prepare(engine, url, folder, NOW)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(6) as several:
        list(several.map(once, range(6)))
    open_history(folder).close()


def test_a_migration_that_fails_leaves_nothing(
    engine: Engine, url: URL, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(engine)
    whole = MigrationContext.run_migrations

    def half(self: MigrationContext, **arguments: object) -> None:
        whole(self, **arguments)
        assert self.connection is not None
        assert "runs" in inspect(self.connection).get_table_names()
        self.connection.execute(text("SELECT * FROM nowhere"))

    monkeypatch.setattr(MigrationContext, "run_migrations", half)
    with pytest.raises(StorageError, match="cannot be used"):
        prepare(engine, url, folder, NOW)
    assert tables(engine) == before

    monkeypatch.undo()
    prepare(engine, url, folder, NOW)


def test_a_process_killed_in_a_migration_leaves_nothing(url: URL, folder: ServerFolder) -> None:
    program = f"""
import datetime as dt, os, signal
from pathlib import Path
from alembic.migration import MigrationContext
from mien_server.folder import open_folder
from mien_server.history.connection import history_url, writer_engine
from mien_server.history.revisions import prepare
whole = MigrationContext.run_migrations
def half(self, **arguments):
    whole(self, **arguments)
    os.kill(os.getpid(), signal.SIGKILL)
MigrationContext.run_migrations = half
folder = open_folder(Path({str(folder.path)!r}))
prepare(writer_engine(history_url(folder)), history_url(folder), folder, dt.datetime.now(dt.UTC))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -9
    engine = writer_engine(url)
    try:
        assert "runs" not in tables(engine)
        prepare(engine, url, folder, NOW)
    finally:
        engine.dispose()


def test_a_newer_miens_database_is_left_alone(engine: Engine, url: URL, folder: ServerFolder) -> None:
    prepare(engine, url, folder, NOW)
    with engine.begin() as connection:
        connection.execute(text("UPDATE mien_revision SET version_num = '00ff'"))

    for attempt in (lambda: prepare(engine, url, folder, NOW), lambda: check_history(folder)):
        with pytest.raises(ForeignHistoryError, match=r"written by a newer Mien \(revision 00ff") as raised:
            attempt()
        assert "MIEN_DATABASE_URL" in str(raised.value)
    with pytest.raises(ForeignHistoryError, match="newer Mien"):
        open_history(folder)
    with engine.connect() as connection:
        assert revision_of(connection) == "00ff"


def test_another_servers_database_is_refused(
    engine: Engine, url: URL, folder: ServerFolder, tmp_path: Path
) -> None:
    prepare(engine, url, folder, NOW)
    other = ServerFolder(tmp_path / "other", folder.settings)
    with pytest.raises(ForeignHistoryError, match="the history of another server") as raised:
        prepare(engine, url, other, NOW)
    assert own_id(folder) in str(raised.value)
    assert "sesame" not in str(raised.value)

    # What the message says: a folder that lost its state is told whose it is.
    (other.state / "server-id").write_text(own_id(folder))
    prepare(engine, url, other, NOW)


def test_readers_make_nothing(url: URL, folder: ServerFolder) -> None:
    with pytest.raises(StorageError, match=r"there is no history yet.*mien server up"):
        open_history(folder)
    if url.get_backend_name() == "sqlite":
        assert not Path(url.database or "").exists()
    else:
        engine = writer_engine(url)
        assert tables(engine) == set()
        engine.dispose()


def test_readers_of_an_older_form_are_told(engine: Engine, url: URL, folder: ServerFolder) -> None:
    prepare(engine, url, folder, NOW)
    newest = head()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revisions, "head", lambda: "0002")
        with pytest.raises(StorageError, match=f"an older Mien's \\({newest}\\).*mien server up"):
            open_history(folder)


def test_what_is_known_by_name_is_what_the_migrations_say() -> None:
    scripts = ScriptDirectory.from_config(revisions._config())
    assert scripts.get_current_head() == head()
    assert {script.revision for script in scripts.walk_revisions()} == revisions.known_revisions()


def test_a_server_may_use_a_database_that_is_empty(url: URL, folder: ServerFolder) -> None:
    assert check_history(folder) == url == history_url(folder)


def test_a_damaged_id_is_no_new_server(folder: ServerFolder) -> None:
    (folder.state / "server-id").write_text("half")
    with pytest.raises(StorageError, match="server-id is damaged"):
        own_id(folder)
