"""What the server's tests share: a folder of a server that has never run."""

import datetime as dt
import socket
from pathlib import Path

import pytest
from flwr.supercore.task_identity import TaskIdentity

from mien_server.certificates import issue_server_certificate, make_authority
from mien_server.folder import ServerFolder, ServerSettings, create_folder, save_settings

LOOPBACK = "127.0.0.1"


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    """A complete server folder on three free loopback ports."""
    with socket.socket() as one, socket.socket() as other, socket.socket() as third:
        held = (one, other, third)
        for each in held:
            each.bind((LOOPBACK, 0))
        ports = [each.getsockname()[1] for each in held]
    settings = ServerSettings(listen=LOOPBACK, port=ports[0], control_port=ports[1], enrol_port=ports[2])
    made = create_folder(tmp_path / "server", settings)
    now = dt.datetime.now(dt.UTC)
    make_authority(made.tls, now)
    issue_server_certificate(made.tls, [], [], 30, now)
    save_settings(made)
    return made


@pytest.fixture(autouse=True)
def inside_a_run() -> None:
    """What Flower tells a ServerApp's process of itself; without it no message can be made."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
