"""Releases at a site, from a server over TLS that may lie in every way it can."""

import base64
import datetime as dt
import hashlib
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from mien_client import cli
from mien_client import releases as releases_module
from mien_client.release_source import ReleaseSource, source_for
from mien_client.releases import current_version, fetch, read_model
from mien_client.site import Site, SiteSettings, create_site, open_site, read_release_key
from mien_common.architecture import Architecture
from mien_common.errors import (
    FederationError,
    MienError,
    ModelError,
    SettingsError,
    StorageError,
    TrustError,
)
from mien_common.files import write_atomic
from mien_common.published import read_published
from mien_common.release import (
    FILE_LIMITS_BYTES,
    fingerprint,
    public_pem,
    read_public_key,
    signed_index,
    sums_text,
    verified_index,
)
from mien_common.release_keys import first_key, hand_on
from mien_common.release_version import parse_version
from mien_server.certificates import issue_server_certificate, make_authority
from mien_server.folder import ServerFolder, ServerSettings, create_folder
from mien_server.publishing.release_key import release_key
from mien_server.publishing.releases import promote, roll_back, rotate_release_key

from ..made_models import publish_model

NOW = dt.datetime.now(dt.UTC)

Spoil = Callable[[bytes], bytes]


@dataclass
class Mirror:
    """A server of releases that answers with what lies in a folder, unless it is told to do otherwise."""

    folder: ServerFolder
    port: int = 0
    spoilt: dict[str, Spoil] = field(default_factory=dict)
    """Content of a path, changed."""
    lengths: dict[str, int | None] = field(default_factory=dict)
    """What it says of a path's length; None for nothing."""
    statuses: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def answer(self, path: str) -> tuple[int, bytes]:
        name = path.removeprefix("/releases/")
        self.asked.append(name)
        file = self.folder.tls / name if name == "release.pub" else self.folder.releases / name
        if not file.is_file():
            return 404, b""
        content = file.read_bytes()
        return self.statuses.get(name, 200), self.spoilt.get(name, bytes)(content)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServerFolder:
    """A server's folder with releases 1.0.0 and 1.1.0, which is the latest; not to be changed."""
    folder = create_folder(tmp_path_factory.mktemp("server") / "s", ServerSettings())
    make_authority(folder.tls, NOW)
    issue_server_certificate(folder.tls, [], [], 30, NOW)
    for round_ in (1, 2):
        promote(folder, publish_model(folder.models, round_), None, NOW)
    return folder


@pytest.fixture
def mirror(made: ServerFolder, tmp_path: Path) -> Iterator[Mirror]:
    shutil.copytree(made.path, tmp_path / "copy", symlinks=True)
    mirror = Mirror(replace(made, path=tmp_path / "copy"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = mirror.answer(self.path)
            name = self.path.removeprefix("/releases/")
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"https://elsewhere.example.org{self.path}")
            length = mirror.lengths.get(name, len(content))
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that has had enough goes away in the middle

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.tls / "server.crt", made.tls / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    mirror.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield mirror
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lab(mirror: Mirror, tmp_path: Path) -> Site:
    """A site that trusts the server and knows its release key."""
    settings = SiteSettings(name="lab-1", server="localhost:9092", releases_url=mirror.url)
    return create_site(
        tmp_path / "lab", settings, mirror.folder.ca_certificate, mirror.folder.tls / "release.pub"
    )


def bring(site: Site, version: str | None = None, *, allow_downgrade: bool = False) -> str:
    """Fetch, as the command does; the current version after it."""
    source, own = source_for(site, None)
    wanted = parse_version(version) if version else None
    fetch(site, source, wanted, own=own, allow_downgrade=allow_downgrade)
    return str(current_version(site))


def kept(site: Site) -> list[str]:
    return sorted(path.name for path in site.releases.iterdir())


class TestFetch:
    def test_the_latest_comes_whole_and_is_a_model_to_use(self, lab: Site, mirror: Mirror) -> None:
        assert bring(lab) == "1.1.0"
        assert kept(lab) == ["1.1.0", "current"]
        theirs, ours = mirror.folder.releases / "1.1.0", lab.releases / "1.1.0"
        for file in theirs.iterdir():
            assert (ours / file.name).read_bytes() == file.read_bytes()
            assert (ours / file.name).stat().st_mode & 0o777 == 0o444
        assert read_model(lab.releases / "current", lab)[0].round == 2

    def test_what_is_here_is_not_fetched_again(self, lab: Site, mirror: Mirror) -> None:
        bring(lab)
        mirror.asked.clear()
        assert bring(lab) == "1.1.0"
        assert mirror.asked == ["index.json"]

    def test_a_lower_version_only_if_told(self, lab: Site, mirror: Mirror) -> None:
        bring(lab)
        with pytest.raises(ModelError, match=r"release 1\.0\.0 is lower than 1\.1\.0.*--allow-downgrade"):
            bring(lab, "1.0.0")
        roll_back(mirror.folder, parse_version("1.0.0"), NOW)
        with pytest.raises(ModelError, match="--allow-downgrade"):
            bring(lab)
        assert current_version(lab) == parse_version("1.1.0")
        assert bring(lab, allow_downgrade=True) == "1.0.0"
        assert bring(lab, "1.1.0") == "1.1.0", "up again needs no word"

    def test_an_old_index_of_a_cache_cannot_bring_a_site_back(self, lab: Site, mirror: Mirror) -> None:
        """Signed by the right key, once: replayed by somebody in between."""
        roll_back(mirror.folder, parse_version("1.0.0"), NOW)
        old = (mirror.folder.releases / "index.json").read_bytes()
        roll_back(mirror.folder, parse_version("1.1.0"), NOW)
        bring(lab)
        shutil.rmtree(lab.releases / "1.1.0")  # the version is remembered without its folder
        mirror.spoilt["index.json"] = lambda _: old
        with pytest.raises(ModelError, match="is lower than"):
            bring(lab)

    def test_a_version_that_is_not_there(self, lab: Site) -> None:
        with pytest.raises(ModelError, match=r"no release 2\.0\.0\. It has: 1\.0\.0, 1\.1\.0\."):
            bring(lab, "2.0.0")

    def test_a_server_without_releases(self, lab: Site, mirror: Mirror) -> None:
        (mirror.folder.releases / "index.json").unlink()
        with pytest.raises(FederationError, match=r"has no index\.json\. Has its operator released a model"):
            bring(lab)

    def test_no_server(self, lab: Site) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            settings = lab.settings.model_copy(
                update={"releases_url": f"https://127.0.0.1:{free.getsockname()[1]}"}
            )
            with pytest.raises(FederationError, match=r"cannot fetch index.json .*mien server up"):
                bring(replace(lab, settings=settings))

    def test_another_schema(self, lab: Site, mirror: Mirror) -> None:
        folder = mirror.folder
        content = verified_index(
            (folder.releases / "index.json").read_bytes(), release_key(folder.tls).public_key()
        )
        other = content.releases[0].model_copy(update={"version": "2.0.0", "schema_name": "au-v2"})
        index = content.model_copy(update={"releases": (*content.releases, other), "latest": "2.0.0"})
        (folder.releases / "index.json").write_bytes(signed_index(index, release_key(folder.tls)))
        with pytest.raises(ModelError, match=r"schema 'au-v2', this agent makes 'au-v1'"):
            bring(lab)
        assert mirror.asked == ["index.json"]


def flip(content: bytes) -> bytes:
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


def flip_in_signature(content: bytes) -> bytes:
    """An index whose signature is wrong and Base64 still, which it often is not after any bit's flip."""
    document = json.loads(content)
    document["signature"] = base64.b64encode(flip(base64.b64decode(document["signature"]))).decode()
    return json.dumps(document).encode()


class TestTampered:
    """Whatever is changed on the way: one sentence, and the release before stays in use."""

    @pytest.fixture(autouse=True)
    def _has_an_earlier_one(self, lab: Site) -> Iterator[None]:
        bring(lab, "1.0.0")
        yield
        assert str(current_version(lab)) == "1.0.0"
        assert read_model(lab.releases / "current", lab)[0].round == 1
        assert kept(lab) == ["1.0.0", "current"], "nothing half is left"

    @pytest.mark.parametrize(
        ("file", "words"),
        [
            ("1.1.0/model.safetensors", "model.safetensors of release 1.1.0 is not what was signed"),
            ("1.1.0/model.onnx", "model.onnx of release 1.1.0 is not what was signed"),
            ("1.1.0/card.json", "card.json of release 1.1.0 is not what was signed"),
            ("1.1.0/MODEL_CARD.md", "MODEL_CARD.md of release 1.1.0 is not what was signed"),
            ("1.1.0/SHA256SUMS", "signature of release 1.1.0 is not by the key"),
            ("1.1.0/SHA256SUMS.sig", "signature of release 1.1.0 is not by the key"),
            ("index.json", "is not by the key"),
        ],
    )
    def test_one_bit(self, lab: Site, mirror: Mirror, file: str, words: str) -> None:
        mirror.spoilt[file] = flip_in_signature if file == "index.json" else flip
        with pytest.raises(TrustError, match=words) as refused:
            bring(lab)
        assert "\n" not in str(refused.value)

    def test_a_release_under_anothers_version(self, lab: Site, mirror: Mirror) -> None:
        """Everything is signed, but it is not what was asked for."""
        shutil.rmtree(mirror.folder.releases / "1.1.0")
        shutil.copytree(mirror.folder.releases / "1.0.0", mirror.folder.releases / "1.1.0")
        with pytest.raises(TrustError, match=r"what was given as release 1\.1\.0 is release '1\.0\.0'"):
            bring(lab)

    def test_a_card_of_another_version_though_signed(self, lab: Site, mirror: Mirror) -> None:
        self.resign(mirror, {"card.json": (mirror.folder.releases / "1.0.0" / "card.json").read_bytes()})
        with pytest.raises(TrustError, match=r"card of release 1\.1\.0 says that it is 1\.0\.0"):
            bring(lab)

    def test_weights_that_do_not_fit_the_card_though_signed(self, lab: Site, mirror: Mirror) -> None:
        self.resign(mirror, {"model.safetensors": b"\x08\0\0\0\0\0\0\0{}      "})
        with pytest.raises(ModelError, match=r"release 1\.1\.0 cannot be used"):
            bring(lab)

    def test_another_servers_releases(self, lab: Site, mirror: Mirror, tmp_path: Path) -> None:
        other = replace(mirror.folder, path=tmp_path / "other")
        other.tls.mkdir(parents=True)
        for round_ in (1, 2):
            promote(other, publish_model(other.models, round_), None, NOW)
        shutil.rmtree(mirror.folder.releases)
        shutil.copytree(other.releases, mirror.folder.releases)
        with pytest.raises(TrustError, match=r"index\.json is not by the key this site trusts"):
            bring(lab)

    @pytest.mark.parametrize(
        "file", ["index.json", "1.1.0/model.safetensors", "1.1.0/card.json", "1.1.0/SHA256SUMS"]
    )
    @pytest.mark.parametrize("told", [True, False])
    def test_a_download_that_breaks_off(self, lab: Site, mirror: Mirror, file: str, told: bool) -> None:
        whole = len((mirror.folder.releases / file).read_bytes())
        mirror.spoilt[file] = lambda content: content[: len(content) // 2]
        mirror.lengths[file] = whole if told else None
        with pytest.raises(
            (FederationError, TrustError), match=r"ended after|damaged|not by the key"
        ) as refused:
            bring(lab)
        assert not told or f"of {whole} bytes. Fetch again." in str(refused.value)

    @pytest.mark.parametrize(
        ("file", "length", "words"),
        [
            ("1.1.0/model.safetensors", 10**12, "must have exactly"),
            ("1.1.0/model.safetensors", None, "must have exactly"),
            ("1.1.0/model.safetensors", 5, "must have exactly"),
            ("1.1.0/SHA256SUMS", None, "must have at most 4096"),
            ("1.1.0/SHA256SUMS.sig", None, "must have at most 64"),
            ("index.json", 10**15, "must have at most 4194304"),
        ],
    )
    def test_a_server_that_lies_about_sizes(
        self, lab: Site, mirror: Mirror, file: str, length: int | None, words: str
    ) -> None:
        mirror.lengths[file] = length
        if length is None:
            mirror.spoilt[file] = lambda content: content + bytes(500_000)
        with pytest.raises(TrustError, match=words):
            bring(lab)

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    @pytest.mark.parametrize("file", ["index.json", "1.1.0/model.onnx"])
    def test_a_redirect_is_not_followed(self, lab: Site, mirror: Mirror, file: str, status: int) -> None:
        mirror.statuses[file] = status
        with pytest.raises(TrustError, match=r"elsewhere\.example\.org.*not followed"):
            bring(lab)

    @pytest.mark.parametrize("status", [206, 403, 500, 503])
    def test_any_other_answer_is_said(self, lab: Site, mirror: Mirror, status: int) -> None:
        mirror.statuses["1.1.0/card.json"] = status
        with pytest.raises(FederationError, match=f"answers {status} for 1.1.0/card.json"):
            bring(lab)

    @staticmethod
    def resign(mirror: Mirror, files: dict[str, bytes]) -> None:
        """What only somebody with the server's key could do."""
        folder, key = mirror.folder, release_key(mirror.folder.tls)
        path = folder.releases / "1.1.0"
        for name, content in files.items():
            (path / name).unlink()
            (path / name).write_bytes(content)
        names = ("model.safetensors", "model.onnx", "card.json", "MODEL_CARD.md")
        sums = sums_text(
            "1.1.0", {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
        )
        for name, content in {"SHA256SUMS": sums, "SHA256SUMS.sig": key.sign(sums)}.items():
            (path / name).unlink()
            (path / name).write_bytes(content)
        index = verified_index((folder.releases / "index.json").read_bytes(), key.public_key())
        entry = index.releases[1].model_copy(
            update={
                "sums_sha256": hashlib.sha256(sums).hexdigest(),
                "bytes": {name: (path / name).stat().st_size for name in names},
            }
        )
        index = index.model_copy(update={"releases": (index.releases[0], entry)})
        (folder.releases / "index.json").write_bytes(signed_index(index, key))

    def test_a_server_that_goes_on_for_ever(self, lab: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """A byte now and then keeps a connection alive; the whole file still has an end."""
        monkeypatch.setattr("mien_client.release_source.PATIENCE_S", -1.0)
        with pytest.raises(FederationError, match="not finished within"):
            bring(lab)


class TestAtTheSite:
    def test_a_release_that_was_changed_here_is_not_used_and_is_mended(self, lab: Site) -> None:
        bring(lab)
        card = lab.releases / "1.1.0" / "card.json"
        text = card.read_text()
        card.chmod(0o644)
        card.write_text(text.replace("lab-1", "lab-9"))
        for path in (lab.releases / "current", lab.releases / "1.1.0" / "model.safetensors"):
            with pytest.raises(
                TrustError, match=r"1\.1\.0 in .* is damaged: .*`mien agent fetch 1\.1\.0` mends"
            ):
                read_model(path, lab)
        assert read_published(lab.releases / "current")[0].sites[0].site == "lab-9", (
            "only the signature knows"
        )
        bring(lab)
        assert card.read_text() == text

    def test_models_of_elsewhere_are_read_as_ever(self, lab: Site, mirror: Mirror) -> None:
        model = mirror.folder.models / "latest"
        assert read_model(model, lab)[0].round == read_model(model, None)[0].round == 2
        assert np.array_equal(read_model(model, lab)[1]["head.bias"], read_published(model)[1]["head.bias"])

    def test_a_release_that_changed_on_the_server_is_refused(self, lab: Site, mirror: Mirror) -> None:
        bring(lab)
        shutil.rmtree(mirror.folder.releases / "1.1.0")
        promote(mirror.folder, publish_model(mirror.folder.models, 7), parse_version("1.1.0"), NOW)
        with pytest.raises(TrustError, match=r"another one than the release 1\.1\.0 that this site has"):
            bring(lab)
        assert read_model(lab.releases / "current", lab)[0].round == 2

    def test_a_full_disk_leaves_the_one_before(self, lab: Site, mirror: Mirror, small_disk: Path) -> None:
        tight = replace(lab, folder=small_disk)
        for file in ("ca.crt", "release.pub"):
            shutil.copy(lab.folder / file, small_disk / file)
        bring(tight)
        promote(mirror.folder, publish_model(mirror.folder.models, 3, Architecture()), None, NOW)
        with pytest.raises(StorageError, match="No space left on device"):
            bring(tight)
        assert kept(tight) == ["1.1.0", "current"]
        assert read_model(tight.releases / "current", tight)[0].round == 2

    def test_what_a_killed_fetch_left_is_removed(self, lab: Site) -> None:
        lab.releases.mkdir()
        (lab.releases / ".1.1.0.x").mkdir()
        (lab.releases / ".current.7").symlink_to("1.1.0")
        bring(lab)
        assert kept(lab) == ["1.1.0", "current"]


class TestTrust:
    @pytest.fixture
    def newcomer(self, mirror: Mirror, tmp_path: Path) -> Site:
        """A site that was given no release key."""
        settings = SiteSettings(name="lab-2", server="localhost:9092", releases_url=mirror.url)
        return create_site(tmp_path / "newcomer", settings, mirror.folder.ca_certificate)

    def test_the_sites_own_server_may_say_its_key_once(self, newcomer: Site, mirror: Mirror) -> None:
        bring(newcomer)
        assert newcomer.release_key_file.read_bytes() == (mirror.folder.tls / "release.pub").read_bytes()
        (mirror.folder.tls / "release.pub").write_bytes(public_pem(Ed25519PrivateKey.generate().public_key()))
        bring(newcomer)
        assert mirror.asked.count("release.pub") == 1

    def test_a_key_that_signed_nothing_is_not_kept(self, newcomer: Site, mirror: Mirror) -> None:
        other = public_pem(Ed25519PrivateKey.generate().public_key())
        mirror.spoilt["release.pub"] = lambda _: other
        with pytest.raises(TrustError, match="not by the key"):
            bring(newcomer)
        assert not newcomer.release_key_file.exists()

    def test_a_mirror_may_not(self, newcomer: Site, mirror: Mirror) -> None:
        elsewhere = f"https://127.0.0.1:{mirror.port}"
        source, own = source_for(newcomer, elsewhere)
        assert not own
        with pytest.raises(TrustError, match=r"127\.0\.0\.1 is not its server\. Give --release-key"):
            fetch(newcomer, source, None, own=own, allow_downgrade=False)
        assert mirror.asked == []

    def test_a_mirror_will_do_for_whoever_knows_the_key(self, lab: Site, mirror: Mirror) -> None:
        source, own = source_for(lab, f"https://127.0.0.1:{mirror.port}")
        assert str(fetch(lab, source, None, own=own, allow_downgrade=False).version) == "1.1.0"

    def test_a_server_of_another_authority_is_not_asked(
        self, mirror: Mirror, tmp_path: Path, ca_pem: bytes
    ) -> None:
        (tmp_path / "other.crt").write_bytes(ca_pem)
        settings = SiteSettings(name="lab-3", server="localhost:9092", releases_url=mirror.url)
        site = create_site(tmp_path / "stranger", settings, tmp_path / "other.crt")
        with pytest.raises(TrustError, match=r"will not fetch from .* its certificate does not hold"):
            bring(site)
        assert mirror.asked == []

    def test_the_usual_place_is_the_servers_own(self, site: Site) -> None:
        for server, host in (("mien.example.org:9092", "mien.example.org"), ("[::1]:9092", "::1")):
            moved = replace(site, settings=site.settings.model_copy(update={"server": server}))
            source, own = source_for(moved, None)
            assert (source.host, own) == (host, True)

    @pytest.mark.parametrize(
        "url",
        [
            "http://a",
            "ftp://a",
            "a",
            "https://",
            "https://user@a",
            "https://a?b",
            "https://a#b",
            "https://a:99999",
            "",
        ],
    )
    def test_what_is_no_address_is_refused(self, url: str) -> None:
        with pytest.raises(SettingsError, match="Give https://HOST:PORT"):
            ReleaseSource(url, ssl.create_default_context())

    @pytest.mark.parametrize("url", ["http://a", "https://a b", "https://u@a", "file:///etc"])
    def test_nor_in_the_settings(self, url: str) -> None:
        with pytest.raises(ValueError, match="releases_url"):
            SiteSettings(name="lab-1", server="a:1", releases_url=url)


class TestCommand:
    def run(self, *arguments: str | Path) -> tuple[int, str, MienError | None]:
        done = CliRunner().invoke(cli.app, list(map(str, arguments)))
        error = done.exception if isinstance(done.exception, MienError) else None
        return done.exit_code, done.output, error

    def test_an_operator_gives_the_key_and_the_lab_fetches(self, mirror: Mirror, tmp_path: Path) -> None:
        site, tls = tmp_path / "site", mirror.folder.tls
        given = ("--server", "localhost:9092", "--ca", tls / "ca.crt", "--release-key", tls / "release.pub")
        assert self.run("init", site, "--name", "lab-1", *given)[0] == 0
        key = read_public_key((site / "release.pub").read_bytes(), "it")
        assert key == release_key(tls).public_key()
        code, said, _ = self.run("fetch", "--site", site, "--from", mirror.url)
        assert (code, said.splitlines()[0]) == (
            0,
            "release 1.1.0 fetched and verified; it is the current one",
        )
        assert f"--model {site / 'releases' / 'current'}" in said
        code, said, error = self.run("fetch", "1.0.0", "--site", site, "--from", mirror.url)
        assert code == 1
        assert "--allow-downgrade" in str(error)
        options = ("--site", site, "--from", mirror.url, "--allow-downgrade", "--json")
        code, said, _ = self.run("fetch", "1.0.0", *options)
        assert json.loads(said) == {
            "event": "fetched",
            "version": "1.0.0",
            "before": "1.1.0",
            "downloaded": True,
            "path": str(site / "releases" / "1.0.0"),
            "current": str(site / "releases" / "current"),
            "new_key": None,
            "former_key": None,
        }

    def test_a_key_is_not_exchanged_for_another(self, lab: Site, mirror: Mirror, tmp_path: Path) -> None:
        other = tmp_path / "other.pub"
        other.write_bytes(public_pem(Ed25519PrivateKey.generate().public_key()))
        _, _, error = self.run("fetch", "--site", lab.folder, "--release-key", other)
        assert "trusts another release key" in str(error)
        assert (
            self.run("fetch", "--site", lab.folder, "--release-key", mirror.folder.tls / "release.pub")[0]
            == 0
        )
        _, _, error = self.run("fetch", "--site", lab.folder, "--release-key", lab.ca_certificate)
        assert "is not a release key" in str(error)

    @pytest.mark.parametrize("version", ["../1.0.0", "1.0", "/etc", "1.0.0/../../x"])
    def test_path_tricks_are_no_versions(self, lab: Site, mirror: Mirror, version: str) -> None:
        code, _, error = self.run("fetch", version, "--site", lab.folder)
        assert code == 1
        assert "three numbers with dots" in str(error)
        assert mirror.asked == []

    def test_it_asks_at_the_port_that_the_server_named(self, mirror: Mirror, tmp_path: Path) -> None:
        port = int(mirror.url.rpartition(":")[2])
        settings = SiteSettings(name="lab-4", server="127.0.0.1:9092", releases_port=port)
        site = create_site(tmp_path / "lab-4", settings, mirror.folder.ca_certificate)
        code, said, _ = self.run("fetch", "--site", site.folder)
        assert (code, "release 1.1.0 fetched and verified" in said) == (0, True)

    def test_a_server_that_hands_out_none_is_not_asked(self, mirror: Mirror, tmp_path: Path) -> None:
        settings = SiteSettings(name="lab-4", server="127.0.0.1:9092", releases_port=0)
        site = create_site(tmp_path / "lab-4", settings, mirror.folder.ca_certificate)
        _, _, error = self.run("fetch", "--site", site.folder)
        assert "hands out no releases over the network" in str(error)
        key = ("--release-key", mirror.folder.tls / "release.pub")
        assert self.run("fetch", "--site", site.folder, "--from", mirror.url, *key)[0] == 0

    def test_settings_written_before_there_were_releases_still_open(self, lab: Site) -> None:
        text = (lab.folder / "site.toml").read_text()
        (lab.folder / "site.toml").write_text(
            "\n".join(line for line in text.splitlines() if "releases_url" not in line)
        )
        assert open_site(lab.folder).settings.releases_url == ""


class TestTheServerChangesItsKey:
    """The key that a site trusts signs for the next one; nobody else can."""

    def test_the_site_follows_and_takes_releases_of_either_key(self, lab: Site, mirror: Mirror) -> None:
        bring(lab, "1.0.0")
        old = read_release_key(lab.release_key_file)
        for _ in range(2):
            rotate_release_key(mirror.folder, NOW)
        promote(mirror.folder, publish_model(mirror.folder.models, 3), None, NOW)
        assert bring(lab) == "1.2.0"
        new = release_key(mirror.folder.tls).public_key()
        assert read_release_key(lab.release_key_file) == new != old
        assert bring(lab, "1.1.0", allow_downgrade=True) == "1.1.0", "signed by the key of before"
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            read_model(lab.releases / version, lab)
        assert mirror.asked.count("release-keys.json") == 1, "once is enough"

    def test_a_site_that_comes_later_takes_old_releases_too(self, mirror: Mirror, tmp_path: Path) -> None:
        rotate_release_key(mirror.folder, NOW)
        settings = SiteSettings(name="lab-5", server="localhost:9092", releases_url=mirror.url)
        late = create_site(tmp_path / "late", settings, mirror.folder.ca_certificate)
        assert bring(late, "1.0.0") == "1.0.0"
        assert read_model(late.releases / "current", late)[0].round == 1
        assert "release-keys.json" not in mirror.asked

    def test_a_key_that_the_old_one_did_not_sign_for_changes_nothing(self, lab: Site, mirror: Mirror) -> None:
        bring(lab, "1.0.0")
        before = lab.release_key_file.read_bytes()
        thief = Ed25519PrivateKey.generate()
        listed = hand_on(
            first_key(read_release_key(lab.release_key_file), "x"), thief, thief.public_key(), "x"
        )
        index = verified_index(
            (mirror.folder.releases / "index.json").read_bytes(), read_release_key(lab.release_key_file)
        )
        mirror.spoilt["index.json"] = lambda _: signed_index(index, thief)
        (mirror.folder.releases / "release-keys.json").write_text(listed.model_dump_json())
        with pytest.raises(TrustError, match="did not sign for it"):
            bring(lab)
        for spoilt in (b"", b"x" * 200_000):
            (mirror.folder.releases / "release-keys.json").write_bytes(spoilt)
            with pytest.raises(TrustError):
                bring(lab)
        (mirror.folder.releases / "release-keys.json").unlink()
        with pytest.raises(TrustError, match="not by the key this site trusts"):
            bring(lab)
        assert lab.release_key_file.read_bytes() == before
        assert current_version(lab) == parse_version("1.0.0")

    def test_the_key_of_before_signs_nothing_any_more(self, lab: Site, mirror: Mirror) -> None:
        """Who copied it cannot bring a site that has followed back, nor slip it a release."""
        stolen = release_key(mirror.folder.tls)
        old_index = (mirror.folder.releases / "index.json").read_bytes()
        rotate_release_key(mirror.folder, NOW)
        bring(lab, "1.0.0")
        mirror.spoilt["index.json"] = lambda _: old_index
        with pytest.raises(TrustError, match="not by the key this site trusts"):
            bring(lab)
        del mirror.spoilt["index.json"]
        sums = mirror.folder.releases / "1.1.0" / "SHA256SUMS"
        forged = sums_text("1.1.0", dict.fromkeys(FILE_LIMITS_BYTES, "0" * 64))
        assert forged != sums.read_bytes()
        mirror.spoilt["1.1.0/SHA256SUMS"] = lambda _: forged
        mirror.spoilt["1.1.0/SHA256SUMS.sig"] = lambda _: stolen.sign(forged)
        with pytest.raises(TrustError, match="is not the one in the index"):
            bring(lab)
        assert current_version(lab) == parse_version("1.0.0")

    def test_the_command_says_so_once(self, lab: Site, mirror: Mirror) -> None:
        def said() -> str:
            return CliRunner().invoke(cli.app, ["fetch", "--site", str(lab.folder)]).stdout

        said()
        old, new = (fingerprint(key) for key in rotate_release_key(mirror.folder, NOW))
        told = said()
        assert f"another key now: {new}" in told
        assert old in told
        assert "another key" not in said()

    def test_killed_between_the_two_files_it_follows_again(
        self, lab: Site, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bring(lab)
        rotate_release_key(mirror.folder, NOW)

        def killed(path: Path, *arguments: Any, **options: Any) -> None:
            if path == lab.release_key_file:
                raise KeyboardInterrupt
            write_atomic(path, *arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(releases_module, "write_atomic", killed)
            with pytest.raises(KeyboardInterrupt):
                bring(lab)
        read_model(lab.releases / "current", lab)
        assert bring(lab) == "1.1.0"
        assert read_release_key(lab.release_key_file) == release_key(mirror.folder.tls).public_key()


def test_fetches_at_the_same_time_wait_for_each_other(lab: Site, mirror: Mirror) -> None:
    slow = threading.Event()

    def wait(content: bytes) -> bytes:
        slow.set()
        time.sleep(0.2)
        return content

    mirror.spoilt["1.1.0/card.json"] = wait
    first = threading.Thread(target=bring, args=(lab,))
    first.start()
    assert slow.wait(60)
    assert bring(lab) == "1.1.0"
    first.join()
    assert mirror.asked.count("1.1.0/card.json") == 1
