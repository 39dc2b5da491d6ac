"""Releases over HTTP: what a cache in front must be able to rely on, and what is never given."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from mien_common.release import FILE_LIMITS_BYTES, verified_index
from mien_common.release_version import parse_version
from mien_server.folder import ServerFolder
from mien_server.health import check_releases
from mien_server.publishing.release_key import release_key
from mien_server.publishing.releases import promote, roll_back
from mien_server.web import listener as listener_module
from mien_server.web.releases import releases_app, releases_server

from ...made_models import publish_model
from ..listener_thread import running
from ..publishing.test_releases import NOW

TRICKS = [
    "1.0.0/release.key", "1.0.0/../../tls/release.key", "1.0.0/%2e%2e/%2e%2e/tls/release.key",
    "../tls/ca.key", "%2e%2e/tls/release.key",
    "..%2ftls/release.key", "1.0.0/..%2f..%2ftls%2frelease.key", "latest/card.json",
    "1.0.0", "1.0.0/", "", ".lock/card.json", "1.0.0//card.json", "9.9.9/card.json", "1.0.0/card.json/",
    "1.0.0/card.json%00", "01.0.0/card.json", "1.0.0%0a/card.json", "/etc/passwd", "1.0.0%5ccard.json",
    "a" * 5000, "1.0.0/CARD.JSON", "index.json/card.json", "index.json/",
]  # fmt: skip
FILES = [*FILE_LIMITS_BYTES, "SHA256SUMS", "SHA256SUMS.sig"]


class Client:
    """Asks the app, mounted as beside another one, without a network."""

    def __init__(self, folder: ServerFolder) -> None:
        app = Starlette(routes=[Mount("/releases", app=releases_app(folder))])
        self._transport = httpx.ASGITransport(app)

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="https://localhost") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)


@pytest.fixture
def client(folder: ServerFolder) -> Client:
    """There is one release."""
    promote(folder, publish_model(folder.models), None, NOW)
    return Client(folder)


class TestForEver:
    @pytest.mark.parametrize("name", FILES)
    def test_a_file_is_named_by_its_hash_and_may_be_kept_for_ever(
        self, client: Client, folder: ServerFolder, name: str
    ) -> None:
        content = (folder.releases / "1.0.0" / name).read_bytes()
        found = client.get(f"/releases/1.0.0/{name}")
        assert (found.status_code, found.content) == (200, content)
        assert found.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
        assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert found.headers["accept-ranges"] == "bytes"
        assert found.headers["content-length"] == str(len(content))
        assert parsedate_to_datetime(found.headers["last-modified"])
        head = client.request("HEAD", f"/releases/1.0.0/{name}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == found.headers

    def test_what_a_cache_has_is_not_sent_again(self, client: Client) -> None:
        path = "/releases/1.0.0/model.onnx"
        etag = client.get(path).headers["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            found = client.get(path, headers={"If-None-Match": known})
            assert (found.status_code, found.content, found.headers["etag"]) == (304, b"", etag)
            assert "immutable" in found.headers["cache-control"]
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200

    def test_a_part_is_a_part(self, client: Client, folder: ServerFolder) -> None:
        path = "/releases/1.0.0/model.safetensors"
        content = (folder.releases / "1.0.0" / "model.safetensors").read_bytes()
        etag = client.get(path).headers["etag"]
        for asked, part in (
            ("bytes=0-9", content[:10]),
            ("bytes=100-", content[100:]),
            ("bytes=-7", content[-7:]),
        ):
            found = client.get(path, headers={"Range": asked, "If-Range": etag})
            assert (found.status_code, found.content) == (206, part)
            assert found.headers["content-range"].endswith(f"/{len(content)}")
            assert found.headers["etag"] == etag
        # Another content than the one that the first part was of: from the beginning.
        assert client.get(path, headers={"Range": "bytes=5-", "If-Range": '"other"'}).content == content
        beyond = client.get(path, headers={"Range": f"bytes={len(content)}-"})
        assert beyond.status_code == 416
        assert client.get(path, headers={"Range": "bytes=x"}).status_code in (200, 400)


class TestForAMinute:
    def test_the_index_is_asked_for_anew(self, client: Client, folder: ServerFolder) -> None:
        found = client.get("/releases/index.json")
        assert found.headers["cache-control"] == "public, max-age=60"
        index = verified_index(found.content, release_key(folder.tls).public_key())
        assert index.latest == "1.0.0"
        etag = found.headers["etag"]
        assert client.get("/releases/index.json", headers={"If-None-Match": etag}).status_code == 304
        promote(folder, publish_model(folder.models, 2), None, NOW)
        again = client.get("/releases/index.json", headers={"If-None-Match": etag})
        assert again.status_code == 200
        assert again.json()["index"]["latest"] == "1.1.0"
        roll_back(folder, parse_version("1.0.0"), NOW)
        assert client.get("/releases/index.json").json()["index"]["latest"] == "1.0.0"

    def test_the_public_key(self, client: Client, folder: ServerFolder) -> None:
        found = client.get("/releases/release.pub")
        assert found.content == (folder.tls / "release.pub").read_bytes()
        assert found.headers["cache-control"] == "public, max-age=60"

    def test_before_the_first_release(self, client: Client, folder: ServerFolder) -> None:
        (folder.releases / "index.json").unlink()
        found = client.get("/releases/index.json")
        assert (found.status_code, found.json()) == (404, {"detail": "there is no release yet"})
        assert found.headers["cache-control"] == "no-store"


class TestNever:
    @pytest.mark.parametrize("path", TRICKS)
    def test_nothing_but_the_files_of_releases(self, client: Client, folder: ServerFolder, path: str) -> None:
        found = client.get(f"/releases/{path}")
        assert found.status_code == 404, found.text
        assert str(folder.path) not in found.text

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    def test_nothing_is_ever_changed(self, client: Client, method: str) -> None:
        for path in ("index.json", "release.pub", "1.0.0/card.json"):
            found = client.request(method, f"/releases/{path}")
            assert (found.status_code, found.json()) == (405, {"detail": "Method Not Allowed"})

    def test_a_link_out_of_the_folder_is_not_followed_by_name(
        self, client: Client, folder: ServerFolder
    ) -> None:
        (folder.releases / "2.0.0").symlink_to(folder.tls)
        assert client.get("/releases/2.0.0/card.json").status_code == 404
        (folder.releases / "1.0.0" / "release.key").symlink_to(folder.tls / "release.key")
        assert client.get("/releases/1.0.0/release.key").status_code == 404

    def test_a_damaged_release_is_not_given_under_a_wrong_hash(
        self, client: Client, folder: ServerFolder
    ) -> None:
        sums = folder.releases / "1.0.0" / "SHA256SUMS"
        sums.chmod(0o644)
        sums.write_text("rubbish")
        found = client.get("/releases/1.0.0/card.json")
        assert (found.status_code, found.json()) == (500, {"detail": "this release is damaged on the server"})


def test_the_real_listener_speaks_tls_and_loads_nothing_heavy(folder: ServerFolder) -> None:
    promote(folder, publish_model(folder.models), None, NOW)
    (folder.tls / "release.pub").unlink()
    serve = [sys.executable, "-X", "importtime", "-m", "mien_common", "server", "releases", "serve"]
    log = folder.path / "serve.log"
    with log.open("w") as errors, subprocess.Popen([*serve, "--dir", folder.path], stderr=errors) as process:
        try:
            assert b"PUBLIC" in answer_of(folder, "/releases/release.pub", log)
            assert json.loads(answer_of(folder, "/releases/index.json", log))["index"]["latest"] == "1.0.0"
            for trick in TRICKS:  # http.client sends them as they are
                assert b"PRIVATE" not in answer_of(folder, f"/releases/{trick}", log, 404)
            second = subprocess.run(
                [sys.executable, *serve[3:], "--dir", folder.path], capture_output=True, text=True
            )
            assert second.returncode == 1
            assert f"port {folder.settings.releases_port}: Address already in use" in second.stderr
        finally:
            process.terminate()
        process.wait(60)
    imported = {line.rpartition("|")[2].strip() for line in log.read_text().splitlines()}
    assert "uvicorn" in imported
    assert not imported & {"torch", "onnx", "flwr", "numpy"}


def test_who_says_nothing_or_half_a_request_is_hung_up_on(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may connect here, and a site must be able to fetch beside whoever takes his time."""
    monkeypatch.setattr(listener_module, "HANDSHAKE_S", 2.0)
    monkeypatch.setattr(listener_module, "REQUEST_S", 2.0)
    promote(folder, publish_model(folder.models), None, NOW)
    trust = ssl.create_default_context(cafile=str(folder.ca_certificate))
    address = (folder.settings.listen, folder.settings.releases_port)
    with running(releases_server(folder)):
        with socket.create_connection(address, timeout=60) as silent:
            assert silent.recv(1) == b""
        for said in (b"", b"GET /releases/index.json HTTP/1.1\r\nHo"):
            plain = socket.create_connection(address, timeout=60)
            with (
                contextlib.suppress(ConnectionError, ssl.SSLEOFError),
                trust.wrap_socket(plain, server_hostname="localhost") as dawdler,
            ):
                dawdler.sendall(said)
                assert dawdler.recv(1) == b""
        check_releases(folder)


def answer_of(folder: ServerFolder, path: str, log: Path, status: int = 200) -> bytes:
    """What a browser that trusts the server's authority is given, once the listener is there."""
    context = ssl.create_default_context(cafile=str(folder.ca_certificate))
    end = time.monotonic() + 120
    while True:
        connection = http.client.HTTPSConnection(
            "localhost", folder.settings.releases_port, context=context, timeout=60
        )
        try:
            connection.request("GET", path)
            found = connection.getresponse()
            assert (found.status, found.headers["server"]) == (status, None), path
            return found.read()
        except ConnectionRefusedError:
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.05)
        finally:
            connection.close()
