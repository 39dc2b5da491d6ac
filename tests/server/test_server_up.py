"""The real server on loopback: Flower's processes, the commands an operator types, and how it all ends."""

import datetime as dt
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from mien_common.errors import FederationError, TrustError
from mien_server import cli
from mien_server.certificates import issue_server_certificate
from mien_server.control import Control
from mien_server.folder import ServerFolder
from mien_server.health import check_health
from mien_server.membership.enrolment import public_key_pem, read_sites
from mien_server.server_events import events_file
from mien_server.up import serve

from ..waiting import wait_until

PATIENCE_S = 120.0


def mien(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "mien_common", *map(str, arguments)]


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(mien(*arguments), capture_output=True, text=True, timeout=PATIENCE_S)


def typed(*arguments: str | Path) -> str:
    """What one of the operator's commands prints; in this process, which is quicker."""
    said = CliRunner().invoke(cli.app, [*map(str, arguments)], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return said.stdout


def not_ready() -> None:
    """For a server that must not get so far."""
    pytest.fail("it is ready")


def answers_again(folder: ServerFolder) -> bool:
    try:
        check_health(folder)
    except FederationError:
        return False
    return True


def recorded(folder: ServerFolder) -> list[str]:
    """Kinds of the events in the server's own journal."""
    return [json.loads(line)["event"] for line in events_file(folder).read_text().splitlines()]


def processes_of(folder: ServerFolder) -> list[int]:
    """Live processes that bear the folder's path or control port on their command line."""
    marks = (str(folder.path).encode(), folder.control_address.encode())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if any(mark in line for mark in marks):
                found.append(int(entry.name))
    return found


@dataclass
class Server:
    """A running ``mien server up``."""

    folder: ServerFolder
    process: subprocess.Popen[str]

    def pids(self) -> dict[str, int]:
        file = self.folder.state / "pids.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        wait_until(lambda: not processes_of(self.folder), f"left running: {processes_of(self.folder)}")
        return code


@pytest.fixture
def server(folder: ServerFolder) -> Iterator[Server]:
    log = (folder.path / "up.log").open("w")
    with (
        log,
        subprocess.Popen(
            mien("server", "up", "--dir", folder.path), stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready"), (folder.path / "up.log").read_text()
            yield Server(folder, process)
        finally:
            process.kill()


def answers(folder: ServerFolder, trust: ssl.SSLContext) -> int | None:
    """The status with which releases are answered; None while nobody answers."""
    connection = http.client.HTTPSConnection(
        "localhost", folder.settings.releases_port, timeout=PATIENCE_S, context=trust
    )
    try:
        connection.request("GET", "/releases/index.json")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def public_key(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    path.write_bytes(key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH))
    return path


def test_an_operators_day(server: Server, tmp_path: Path) -> None:
    folder = server.folder
    where = ("--dir", folder.path)

    health = command("server", "health", *where)
    assert (health.returncode, health.stderr) == (0, "")

    assert "it can join now" in typed("enrol", public_key(tmp_path / "a.pub"), "--name", "lab-1", *where)
    (site,) = read_sites(folder)
    with Control(folder) as control:
        assert control.node_ids() == {public_key_pem(site): site.node_id}

    # Releases are asked for over HTTPS, by whoever trusts the server's authority; there is none yet.
    trust = ssl.create_default_context(cafile=str(folder.ca_certificate))
    assert answers(folder, trust) == 404, "ready, and nobody hands out releases"

    with pytest.raises(FederationError, match=f"already runs on {folder.path}"):
        serve(folder, not_ready)

    # Nobody has joined; Ctrl-C stops the run that waits.
    with subprocess.Popen(
        mien("server", "run", "--rounds", "1", "--wait", "600", *where), stdout=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith("run ")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(PATIENCE_S) == 130
    newest = sorted(folder.runs.iterdir())[-1] / "rounds.jsonl"
    wait_until(lambda: '"stopped"' in newest.read_text(), "the ServerApp goes on")
    # Whatever is killed comes back, the SuperLink with all it knew.
    before = server.pids()
    children = set(before) - {"up"}
    assert children == {"recorder", "superlink", "superexec", "door", "releases", "dashboard"}
    for name in children:
        os.kill(before[name], signal.SIGKILL)
    wait_until(
        lambda: all(server.pids().get(name, before[name]) != before[name] for name in children),
        "not all were started again",
    )
    wait_until(lambda: answers_again(folder), "it does not answer again")
    with Control(folder) as control:
        assert site.node_id in control.node_ids().values()

    assert server.end(signal.SIGINT) == 130
    assert not answers_again(folder)
    assert recorded(folder) == ["server_started", "enrolled", "server_stopped"]


def test_nothing_is_left_of_a_server_that_was_killed(server: Server) -> None:
    pids = server.pids()
    assert set(pids) == {"up", "recorder", "superlink", "superexec", "door", "releases", "dashboard"}
    assert set(pids.values()) <= {*processes_of(server.folder)}

    server.end(signal.SIGKILL)


def test_a_busy_port_is_named(folder: ServerFolder) -> None:
    with (
        socket.create_server(("127.0.0.1", folder.settings.port)),
        pytest.raises(FederationError, match=f"cannot listen on 127.0.0.1 port {folder.settings.port}"),
    ):
        serve(folder, not_ready)
    assert not processes_of(folder)


def test_an_expired_certificate_is_named_before_anything_starts(folder: ServerFolder) -> None:
    issue_server_certificate(folder.tls, [], [], 1, dt.datetime.now(dt.UTC) - dt.timedelta(days=3))

    with pytest.raises(TrustError, match=r"server\.crt expired"):
        serve(folder, not_ready)
    assert not processes_of(folder)

    typed("init", folder.path, "--renew", "--host", "new.example.org")
    assert "new.example.org" in (folder.path / "server.toml").read_text()
