"""What the history's tests share: each of them on SQLite and on a real PostgreSQL."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine

from mien_server.folder import DATABASE_VARIABLE, ServerFolder
from mien_server.history.connection import history_url, writer_engine
from mien_server.history.reader import History

from .postgres import Cluster, binaries, cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server."""
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with cluster(found) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> URL:
    """Where the history of ``folder`` is kept in this test: an empty database."""
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    if request.param == "postgresql":
        made: Cluster = request.getfixturevalue("postgres")
        monkeypatch.setenv(DATABASE_VARIABLE, made.new_database())
    return history_url(folder)


@pytest.fixture
def engine(url: URL) -> Iterator[Engine]:
    """As the recorder connects."""
    made = writer_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def history(url: URL) -> Iterator[History]:
    """As readers connect; it need not be there yet."""
    made = History(url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_other_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's own environment says, tests use databases of their own."""
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
