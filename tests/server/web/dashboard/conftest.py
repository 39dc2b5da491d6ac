"""The dashboard's app in the tests' own process: who calls it as whom."""

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from starlette.types import ASGIApp

from mien_server.folder import ServerFolder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.web.dashboard.app import dashboard_app
from mien_server.web.dashboard.tokens import new_token

from ...conftest import server_folder
from ...history.made_history import MadeHistory, make_history
from .callers import Caller

NOW = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dashboard(folder: ServerFolder, clock: Clock) -> Iterator[Callable[..., Caller]]:
    """Makes callers of the one dashboard of ``folder``, each a browser, or a program, of its own."""
    history = History(history_url(folder))
    app = dashboard_app(folder, history, ["mien.example.org", "*.lab.example.org"], clock)

    def call(**headers: str) -> Caller:
        return Caller(app, headers)

    yield call
    history.close()


@pytest.fixture
def operator(folder: ServerFolder, dashboard: Callable[..., Caller]) -> Caller:
    """A program that bears the operator's token."""
    return dashboard(Authorization=f"Bearer {new_token(folder, 'operator', NOW)}")


@pytest.fixture
def viewer(folder: ServerFolder, dashboard: Callable[..., Caller]) -> Caller:
    """A program that bears the viewer's."""
    return dashboard(Authorization=f"Bearer {new_token(folder, 'viewer', NOW)}")


@pytest.fixture
def made(folder: ServerFolder) -> Iterator[MadeHistory]:
    """Two runs, three sites, two releases; as if a server ran."""
    with make_history(folder, NOW) as made:
        yield made


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeHistory]:
    """The same, for all tests of a file that change nothing of it."""
    with make_history(server_folder(tmp_path_factory.mktemp("past") / "server"), NOW) as made:
        yield made


@pytest.fixture(scope="module")
def past_app(past: MadeHistory) -> Iterator[ASGIApp]:
    """Its dashboard."""
    history = History(history_url(past.folder))
    yield dashboard_app(past.folder, history, clock=Clock())
    history.close()


@pytest.fixture(scope="module")
def reader(past: MadeHistory, past_app: ASGIApp) -> Caller:
    """A program that bears its viewer's token."""
    return Caller(past_app, {"Authorization": f"Bearer {new_token(past.folder, 'viewer', NOW)}"})


@pytest.fixture(scope="module")
def doer(past: MadeHistory, past_app: ASGIApp) -> Caller:
    """A program that bears its operator's token, and is refused whatever it wants to change."""
    return Caller(past_app, {"Authorization": f"Bearer {new_token(past.folder, 'operator', NOW)}"})
