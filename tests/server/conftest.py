"""What the server's tests share: a folder of a server that has never run."""

import datetime as dt
from collections.abc import Generator
from pathlib import Path

import pytest
from flwr.supercore.task_identity import TaskIdentity

from mien_server.certificates import issue_server_certificate, make_authority
from mien_server.folder import ServerFolder, ServerSettings, create_folder, save_settings
from mien_server.runs.journal import Event, new_event
from mien_server.runs.settings import RunSettings

from ..free_ports import LOOPBACK, free_ports


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    """A complete server folder on free loopback ports."""
    return server_folder(tmp_path / "server")


def server_folder(path: Path, certificate_days: int = 30) -> ServerFolder:
    """The same at ``path``, for tests that share one."""
    names = ("port", "control_port", "enrol_port", "releases_port", "dashboard_port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    settings = ServerSettings.model_validate({"listen": LOOPBACK, **ports})
    made = create_folder(path, settings)
    now = dt.datetime.now(dt.UTC)
    make_authority(made.tls, now)
    issue_server_certificate(made.tls, [], [], certificate_days, now)
    save_settings(made)
    return made


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[RunSettings]:
    """Settings of the runs that ``mien server run`` would start, were there a server."""
    runs: list[RunSettings] = []

    def submit(_: ServerFolder, settings: RunSettings, *_times: object) -> str:
        runs.append(settings)
        return "r"

    def conduct(_: ServerFolder, run: str) -> Generator[Event]:
        yield new_event("started", run=run, rounds=1, rule=runs[-1].rule.name, enrolled=["lab-1"])
        yield new_event("round_started", round=1)

    monkeypatch.setattr("mien_server.runs.queue.submit", submit)
    monkeypatch.setattr("mien_server.runs.start.check_ready", lambda *_: None)
    monkeypatch.setattr("mien_server.runs.watch.conduct", conduct)
    monkeypatch.setattr("mien_server.logs.interrupt_on_signals", lambda: None)
    return runs


@pytest.fixture(autouse=True)
def inside_a_run() -> None:
    """What Flower tells a ServerApp's process of itself; without it no message can be made."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
