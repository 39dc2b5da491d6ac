"""What a real server and agent refuse, each with one clear line, exit code 1 and no traceback."""

import contextlib
import datetime as dt
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mien_lab.federation import Federation
from mien_lab.mien_command import Argument, mien, run_mien
from mien_server.certificates import issue_server_certificate

Make = Callable[[int], Federation]
Standing = Callable[..., Federation]


def refused(*arguments: Argument) -> str:
    """What a command that must fail says."""
    ended = subprocess.run(mien(*arguments), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, ended.stderr
    return said[0]


def new_site(federation: Federation, name: str, server: str) -> Path:
    site = federation.site(name)
    site.parent.mkdir(parents=True, exist_ok=True)
    run_mien(
        *("agent", "init", site, "--name", name, "--server", server),
        *("--ca", federation.server / "tls" / "ca.crt"),
    )
    return site


def test_a_site_that_is_not_enrolled(standing: Standing) -> None:
    federation = standing()
    site = new_site(federation, "stranger", f"127.0.0.1:{federation.port}")
    said = refused("agent", "join", "--site", site)
    assert "does not know this site's key" in said
    assert "mien server enrol" in said
    run_mien("server", "enrol", site / "keys" / "site.pub", "--name", "stranger", "--dir", federation.server)
    federation.join(["stranger"])
    federation.leave("stranger")


def test_an_enrolled_name_with_another_key(standing: Standing) -> None:
    federation = standing()
    other = new_site(federation, "other", f"127.0.0.1:{federation.port}")
    settings = other / "site.toml"
    settings.write_text(settings.read_text().replace('"other"', '"lab-4"'))
    assert "does not know this site's key" in refused("agent", "join", "--site", other)


def test_a_server_of_another_authority(standing: Standing, tmp_path: Path) -> None:
    federation = standing()
    run_mien("server", "init", tmp_path / "impostor")
    site = new_site(federation, "misled", f"127.0.0.1:{federation.port}")
    shutil.copy(tmp_path / "impostor" / "tls" / "ca.crt", site / "ca.crt")
    assert "is not from this site's ca.crt" in refused("agent", "join", "--site", site)


def test_a_server_under_another_name(standing: Standing) -> None:
    federation = standing()
    site = new_site(federation, "lab-7", f"127.0.0.2:{federation.port}")
    with passed_on("127.0.0.2", federation.port):
        said = refused("agent", "join", "--site", site)
    assert "is for another host than 127.0.0.2" in said


@contextmanager
def passed_on(address: str, port: int) -> Iterator[None]:
    """Connections to ``address`` reach the same port of 127.0.0.1."""

    class PassOn(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as there:
                back = threading.Thread(target=pump, args=(there, self.request))
                back.start()
                pump(self.request, there)
                back.join()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    with socketserver.ThreadingTCPServer((address, port), PassOn) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_an_expired_certificate_is_found_before_the_server_starts(make_federation: Make) -> None:
    federation = make_federation(1)
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    issue_server_certificate(federation.server / "tls", [], [], 10, long_ago)
    said = refused("server", "up", "--dir", federation.server)
    assert "expired" in said
    assert "--renew" in said


def test_a_busy_port(make_federation: Make) -> None:
    federation = make_federation(1)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", federation.port))
        holder.listen()
        said = refused("server", "up", "--dir", federation.server)
    assert f"port {federation.port}" in said


def test_a_run_without_a_server(make_federation: Make) -> None:
    federation = make_federation(1)
    said = refused("server", "run", "--rounds", 1, "--dir", federation.server)
    assert "mien server up" in said


def test_an_agent_waits_for_a_server_that_is_not_there_yet(standing: Standing) -> None:
    """So is ``lab-1`` of the standing federation started: before its server."""
    said = standing("lab-1").log("lab-1").read_text()
    assert 0 <= said.index("waiting server=") < said.index("joined server=")


def test_a_full_disk_fails_the_run_and_keeps_the_models_that_are_there(standing: Standing) -> None:
    federation = standing("lab-1")
    models = federation.server / "models"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(models)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here to fill up: {mounted.stderr.strip()}")
    try:
        said = refused("server", "run", "--rounds", 5, "--quorum", 1, "--dir", federation.server)
        assert "No space left on device" in said
        listed = run_mien("server", "models", "--dir", federation.server)
        assert "round 2" in listed
        drafts = [path for path in models.rglob("*") if path.name.startswith(".")]
        assert drafts == [], "nothing half-written"
    finally:
        subprocess.run(["umount", "--lazy", str(models)], check=True)
