"""The operator's page over a made past: the real dashboard in a thread, and the system's Chromium."""

import asyncio
import datetime as dt
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser

from mien_server.certificates import issue_server_certificate, make_authority
from mien_server.folder import ServerFolder, ServerSettings, create_folder, save_settings
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.web.dashboard.access import Access
from mien_server.web.dashboard.process import dashboard_server
from mien_server.web.dashboard.tokens import new_token
from mien_server.web.door import QuickHandshakes

from ...history.made_history import MadeHistory, made_nodes, make_history, record
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
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    _history: list[History] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://{LOOPBACK}:{self.made.folder.settings.dashboard_port}"

    def start(self) -> None:
        """Serve; back when it answers."""
        folder = self.made.folder
        history = History(history_url(folder))
        self._history.append(history)
        server = dashboard_server(folder, history, Access())
        self._server, self._thread = server, threading.Thread(target=self._serve, args=(server,))
        self._thread.start()
        end = time.monotonic() + 20
        while not server.started:
            assert self._thread.is_alive(), "the dashboard did not come up"
            assert time.monotonic() < end
            time.sleep(0.01)

    def stop(self) -> None:
        """As if its process had ended."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=20)
            self._history.pop().close()
        self._server = self._thread = None

    def record(self) -> None:
        """Take up what is new in the files, as the recorder does every two seconds."""
        record(self.made.folder, made_nodes(self.made.folder, self.made.now), now())

    @staticmethod
    def _serve(server: uvicorn.Server) -> None:
        with asyncio.Runner(loop_factory=QuickHandshakes) as runner:
            runner.run(server.serve())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone with its file: while Playwright lives, no other test of this process can run an event loop."""
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    """The dashboard of a server in the fourth round of its second run."""
    folder = _folder(tmp_path_factory.mktemp("page") / "server")
    with make_history(folder) as made:
        found = Served(made, new_token(folder, "operator", now()), new_token(folder, "viewer", now()))
        found.start()
        try:
            yield found
        finally:
            found.stop()


def _folder(path: Path) -> ServerFolder:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(5)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        ports = [int(probe.getsockname()[1]) for probe in probes]
    names = ("port", "control_port", "enrol_port", "releases_port", "dashboard_port")
    settings = ServerSettings.model_validate({"listen": LOOPBACK, **dict(zip(names, ports, strict=True))})
    folder = create_folder(path, settings)
    make_authority(folder.tls, now())
    issue_server_certificate(folder.tls, [], [], 365, now())
    save_settings(folder)
    return folder
