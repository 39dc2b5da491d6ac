"""The dashboard's real listener: where it listens, what it hangs up on, and its process."""

import contextlib
import datetime as dt
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mien_common.errors import FederationError, SettingsError, TrustError
from mien_server import health
from mien_server.certificates import issue_server_certificate, make_authority
from mien_server.folder import ServerFolder
from mien_server.health import check_dashboard
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.server_events import events_file
from mien_server.web import listener as listener_module
from mien_server.web.dashboard import process as process_module
from mien_server.web.dashboard.access import Access, checked_access, read_access, write_access
from mien_server.web.dashboard.names import names
from mien_server.web.dashboard.process import dashboard_server
from mien_server.web.dashboard.tokens import new_token
from mien_server.web.listener import HEADER_LIMIT_BYTES

from ....made_models import publish_model
from ....waiting import wait_until
from ...listener_thread import running
from .listening import asked, listening, raw

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def port(folder: ServerFolder) -> Iterator[int]:
    with listening(folder) as port:
        yield port


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def assert_well(line: socket.socket) -> None:
    """One request is answered on ``line``, which stays open."""
    line.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        piece = line.recv(4096)
        assert piece, answer
        answer += piece


class TestListening:
    def test_plainly_on_loopback_only(self, folder: ServerFolder, port: int) -> None:
        check_dashboard(folder)
        answer = asked(port, b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status_of(answer) == 200
        assert b"\r\nserver:" not in answer.lower()
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # free: it does not listen on every address

    def test_in_public_over_tls_with_the_server_s_own_certificate(self, folder: ServerFolder) -> None:
        access = Access(public=True)
        write_access(folder, access)
        with listening(folder, access) as port:
            check_dashboard(folder)
            with pytest.raises(FederationError):
                check_dashboard(replace(folder, path=folder.path / "elsewhere"))  # which knows of no TLS
            trust = ssl.create_default_context(cafile=str(folder.ca_certificate))
            page = http.client.HTTPSConnection("localhost", port, context=trust, timeout=60)
            page.request(
                "POST",
                "/api/v1/login",
                f'{{"token": "{new_token(folder, "viewer", NOW)}"}}',
                {"Content-Type": "application/json"},
            )
            answer = page.getresponse()
            assert answer.status == 200
            assert "secure" in (answer.headers["set-cookie"] or "").lower()
            page.close()
            plain = asked(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" not in plain[:20], "never without TLS"

    def test_in_public_with_a_certificate_of_the_operator_s(
        self, folder: ServerFolder, tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        other.mkdir()
        make_authority(other, NOW)
        issue_server_certificate(other, ["page.example.org"], [], 30, NOW)
        access = checked_access(True, other / "server.crt", other / "server.key")
        write_access(folder, access)
        assert read_access(folder) == access
        assert "page.example.org" in names(folder, access)
        with listening(folder, access) as port:
            check_dashboard(folder)
            trust = ssl.create_default_context(cafile=str(other / "ca.crt"))
            page = http.client.HTTPSConnection("localhost", port, context=trust, timeout=60)
            page.request("GET", "/api/v1/health", headers={"Host": "page.example.org"})
            assert page.getresponse().status == 200
            page.close()
            write_access(folder, Access(public=True))
            with pytest.raises(TrustError, match="is not the dashboard of"):
                check_dashboard(folder)

    def test_a_certificate_that_cannot_be_used_is_named_before_anything_starts(
        self, folder: ServerFolder, tmp_path: Path
    ) -> None:
        certificate, key = folder.tls / "server.crt", folder.tls / "server.key"
        with pytest.raises(SettingsError, match="go together"):
            checked_access(True, certificate, None)
        with pytest.raises(SettingsError, match="give --public, too"):
            checked_access(False, certificate, key)
        with pytest.raises(SettingsError, match="the key does not fit"):
            checked_access(True, certificate, folder.tls / "ca.key")
        with pytest.raises(SettingsError, match=r"cannot use .*nothing\.pem.*No such file"):
            checked_access(True, tmp_path / "nothing.pem", key)

    def test_whoever_looks_after_it_says_where_it_is_not(self, folder: ServerFolder) -> None:
        with pytest.raises(
            FederationError, match=r"dashboard of .* does not answer at port \d+: .*dashboard\.log"
        ):
            check_dashboard(folder)
        check_dashboard(replace(folder, settings=folder.settings.model_copy(update={"dashboard_port": 0})))

    @pytest.mark.parametrize(
        ("changes", "url"),
        [
            ({}, "https://{host}:9096"),
            ({"hosts": ("*.example.org", "mien.example.org")}, "https://mien.example.org:9096"),
            ({"ips": ("192.0.2.7",)}, "https://192.0.2.7:9096"),
            ({"ips": ("2001:db8::7",)}, "https://[2001:db8::7]:9096"),
        ],
    )
    def test_a_person_is_told_what_to_open(
        self, folder: ServerFolder, changes: dict[str, object], url: str
    ) -> None:
        known = replace(
            folder, settings=folder.settings.model_copy(update={"dashboard_port": 9096, **changes})
        )
        assert Access().url(known) == "http://127.0.0.1:9096"
        assert Access(public=True).url(known) == url.format(host=socket.gethostname())


class TestAttacks:
    @pytest.mark.parametrize(
        "path",
        [
            "/../server.toml",
            "/static/../../dashboard/tokens.py",
            "/static/..%2f..%2fdashboard%2ftokens.py",
            "/static/%2e%2e/%2e%2e/dashboard/tokens.py",
            "/static//etc/passwd",
            "/static/%2fetc%2fpasswd",
            "/static/..%5c..%5ctokens.py",
            "//attacker.example/%2e%2e",
            "/api/v1/models/../../tls/1/files/card.json",
            "/api/v1/models/../1/files/../../../tls/ca.key",
            "/api/v1/releases/../files/card.json",
            "/api/v1/releases/./files/index.json",
            "http://attacker.example/",
            "/%00",
        ],
    )
    def test_dots_as_they_stand_lead_nowhere(self, folder: ServerFolder, port: int, path: str) -> None:
        token = new_token(folder, "operator", NOW)
        answer = asked(
            port,
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Connection: close\r\n\r\n".encode(),
        )
        assert status_of(answer) in (404, 422), answer[:200]
        assert b"location:" not in answer.lower()

    @pytest.mark.parametrize(
        "request_",
        [
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            # No more than one byte too many, or it would hang up before all of it is sent.
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".ljust(HEADER_LIMIT_BYTES + 1, b"x"),
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"rubbish\r\n\r\n",
        ],
    )
    def test_what_is_no_http_is_400(self, port: int, request_: bytes) -> None:
        answer = asked(port, request_)
        assert status_of(answer) == 400

    def test_no_host_is_refused(self, port: int) -> None:
        assert status_of(asked(port, b"GET / HTTP/1.0\r\n\r\n")) == 421

    def test_who_says_nothing_is_hung_up_on(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listener_module, "REQUEST_S", 2.0)
        monkeypatch.setattr("mien_server.web.dashboard.guard.BODY_PATIENCE_S", 0.3)
        with listening(folder) as port:
            for said in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX"):
                with raw(port) as line, contextlib.suppress(ConnectionError):
                    line.sendall(said)
                    assert line.recv(1) == b""
            with raw(port) as line:  # a second request that never ends, after one that was answered
                assert_well(line)
                line.sendall(b"GET / HT")
                with contextlib.suppress(ConnectionError):
                    assert line.recv(1) == b""
            slow = b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"
            assert status_of(asked(port, slow)) == 408
            with raw(port) as line:  # idle between two requests is what browsers are
                assert_well(line)
                time.sleep(2.5)
                assert_well(line)
            check_dashboard(folder)

    def test_who_takes_nothing_of_a_download_is_hung_up_on(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listener_module, "STUCK_S", 0.3)
        token = new_token(folder, "operator", NOW)
        path = publish_model(folder.models)
        with (path / "model.safetensors").open("r+b") as file:
            file.truncate(64 * 1024 * 1024)
        with contextlib.closing(History(history_url(folder))) as history:
            server = dashboard_server(folder, history, Access())
            with running(server), raw(folder.settings.dashboard_port) as line:
                line.sendall(
                    f"GET /api/v1/models/{path.parent.name}/1/files/model.safetensors HTTP/1.1\r\n"
                    f"Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
                )
                assert line.recv(9) == b"HTTP/1.1 "
                # How much of it the kernel still holds for us by then is the kernel's business.
                wait_until(lambda: not server.server_state.connections, "it lets go of the connection")
                wait_until(lambda: path / "model.safetensors" not in open_files(), "it closes the file")
                check_dashboard(folder)

    def test_more_connections_than_it_takes_are_told_so(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process_module, "MANNERS", replace(process_module.MANNERS, most_connections=3))
        with contextlib.closing(History(history_url(folder))) as history, contextlib.ExitStack() as held:
            server = dashboard_server(folder, history, Access())
            held.enter_context(running(server))
            port = folder.settings.dashboard_port
            for _ in range(3):
                held.enter_context(raw(port))
            wait_until(lambda: len(server.server_state.connections) == 3, "it takes three")
            answer = asked(
                port, b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert status_of(answer) == 503


def open_files() -> set[Path]:
    """What this process, in which the dashboard is a thread, has open."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(entry.readlink())
    return found


def test_its_process_starts_quickly_and_lightly(folder: ServerFolder) -> None:
    """No PyTorch, no Flower, before somebody asks for what needs them; and it ends when it is told to."""
    code = "import sys, mien_server.web.dashboard.process; print(*{'torch', 'flwr', 'onnx'} & {*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert loaded.stdout == b"\n"
    command = [sys.executable, "-m", "mien_server.web.dashboard.process", str(folder.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 60
            while True:
                assert process.poll() is None
                with contextlib.suppress(FederationError):
                    health.check_dashboard(folder)
                    break
                assert time.monotonic() < end
                time.sleep(0.05)
            for _ in range(2):
                login = b'{"token": "wrong"}'
                head = f"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(login)}\r\n"
                kind = b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
                assert status_of(asked(folder.settings.dashboard_port, head.encode() + kind + login)) == 401
            process.terminate()
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0
            assert "Traceback" not in said
            written = events_file(folder).read_text()
            assert sum(json.loads(line)["count"] for line in written.splitlines()) == 2, "none is lost"
        finally:
            process.kill()
