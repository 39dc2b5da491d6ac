"""The dashboard's app in the tests' own process: who calls it as whom."""

import datetime as dt
from collections.abc import Callable, Iterator

import pytest

from mien_server.folder import ServerFolder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.web.dashboard.app import dashboard_app
from mien_server.web.dashboard.tokens import new_token

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
