"""The operator's page over a made past: the real dashboard in a thread, and the system's Chromium."""

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser

from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.web.dashboard.access import Access
from mien_server.web.dashboard.process import dashboard_server
from mien_server.web.dashboard.tokens import new_token

from ...conftest import server_folder
from ...history.made_history import MadeHistory, made_nodes, make_history, record
from ...listener_thread import running
from .browser import launched

LOOPBACK = "127.0.0.1"


def now() -> dt.datetime:
    """The time, in UTC."""
    return dt.datetime.now(dt.UTC)


@dataclass
class Served:
    """A dashboard that can be stopped and started again, and the past that it shows."""

    made: MadeHistory
    operator: str
    viewer: str
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def base(self) -> str:
        return f"http://{LOOPBACK}:{self.made.folder.settings.dashboard_port}"

    def start(self) -> None:
        """Serve; back when it answers."""
        folder = self.made.folder
        history = History(history_url(folder))
        self._running.callback(history.close)
        self._running.enter_context(running(dashboard_server(folder, history, Access())))

    def stop(self) -> None:
        """As if its process had ended."""
        self._running.close()

    def record(self) -> None:
        """Take up what is new in the files, as the recorder does every two seconds."""
        record(self.made.folder, made_nodes(self.made.folder, self.made.now), now())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone with its file: while Playwright lives, no other test of this process can run an event loop."""
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    """The dashboard of a server in the fourth round of its second run."""
    folder = server_folder(tmp_path_factory.mktemp("page") / "server", certificate_days=365)
    with make_history(folder) as made:
        found = Served(made, new_token(folder, "operator", now()), new_token(folder, "viewer", now()))
        found.start()
        try:
            yield found
        finally:
            found.stop()
