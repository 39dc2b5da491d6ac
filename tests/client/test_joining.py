"""A site joins with a code, or by file, through the real door; others who want to be that server do not.

The door is the server's own, with TLS, in a thread; only the SuperLink behind it is made up.
"""

import datetime as dt
import json
import signal
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomli_w
from click.testing import Result
from pydantic import BaseModel
from typer.testing import CliRunner

from mien_client import cli, joining
from mien_client import door as client_door
from mien_client.door import invited_door
from mien_client.joining import accept_bundle, join_with_code, write_request
from mien_client.key_rotation import rotate_key
from mien_client.site import Site, open_site, read_release_key
from mien_client.tls import ServerUnreachableError
from mien_common.enrolment_files import SiteBundle, read_enrolment_file, write_enrolment_file
from mien_common.enrolment_messages import EnrolReply
from mien_common.errors import FederationError, InputError, MienError, SettingsError, TrustError
from mien_common.invitation import Invitation, authority_fingerprint, read_code
from mien_common.site_keys import public_openssh
from mien_server import certificates
from mien_server.certificates import issue_server_certificate, make_authority
from mien_server.folder import ServerFolder, ServerSettings, create_folder, save_settings
from mien_server.membership.approval import approve
from mien_server.membership.enrolment import read_sites, revoke
from mien_server.membership.invites import invite
from mien_server.publishing.release_key import release_key
from mien_server.web import enrolment_app
from mien_server.web.rate_limit import WrongTries
from tests.free_ports import free_ports
from tests.server.door_thread import SuperLink, now, open_door

HOUR = dt.timedelta(hours=1)
LOOPBACK = "127.0.0.1"


def make_server(path: Path, enrol_port: int | None = None) -> ServerFolder:
    ports = free_ports(4)
    settings = ServerSettings(
        listen=LOOPBACK,
        port=ports[0],
        control_port=ports[1],
        enrol_port=enrol_port or ports[2],
        releases_port=ports[3],
    )
    folder = create_folder(path, settings)
    make_authority(folder.tls, now())
    issue_server_certificate(folder.tls, [], [], 90, now())
    save_settings(folder)
    return folder


@pytest.fixture
def server(tmp_path: Path) -> ServerFolder:
    return make_server(tmp_path / "server")


@pytest.fixture
def invitation(server: ServerFolder) -> Invitation:
    return read_code(invite(server, "lab-2", LOOPBACK, HOUR, now()).code())


@pytest.fixture
def opened(server: ServerFolder) -> Iterator[SuperLink]:
    superlink = SuperLink()
    with open_door(server, superlink):
        yield superlink


def key_line(site: Site) -> str:
    return public_openssh(site.private_key().public_key())


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_new_machine_joins_with_a_code(
    opened: SuperLink, server: ServerFolder, invitation: Invitation, tmp_path: Path
) -> None:
    made = join_with_code(tmp_path / "lab" / "site", invitation, lag_s=3.5)
    again = open_site(made.folder)
    assert again.settings == made.settings
    assert (made.settings.name, made.settings.lag_s) == ("lab-2", 3.5)
    assert made.settings.server == f"{LOOPBACK}:{server.settings.port}"
    assert made.settings.enrol_port == server.settings.enrol_port
    assert made.settings.releases_port == server.settings.releases_port
    assert made.root_certificate() == server.ca_certificate.read_bytes()
    assert [(site.name, site.public_key) for site in read_sites(server)] == [("lab-2", key_line(made))]
    assert made.public_key_file.read_text() == f"{key_line(made)} lab-2\n"
    assert stat.S_IMODE(made.private_key_file.stat().st_mode) == 0o600
    assert files_of(made.folder) == [
        *("ca.crt", "keys/site.key", "keys/site.pub", "site.toml", "state/agent.lock")
    ]
    assert opened.registered == 1


def test_a_site_that_is_here_already_keeps_its_key_and_settings(
    opened: SuperLink, server: ServerFolder, site: Site
) -> None:
    before, code = key_line(site), invite(server, site.settings.name, LOOPBACK, HOUR, now())
    made = join_with_code(site.folder, code)
    assert key_line(made) == before == read_sites(server)[0].public_key
    assert (made.settings.lag_s, made.settings.device) == (site.settings.lag_s, site.settings.device)
    assert made.settings.server == f"{LOOPBACK}:{server.settings.port}"


def test_a_revoked_site_comes_back_with_a_new_key_only(
    opened: SuperLink, server: ServerFolder, invitation: Invitation, tmp_path: Path
) -> None:
    made = join_with_code(tmp_path / "site", invitation)
    revoke(server, "lab-2", now())
    code, before = invite(server, "lab-2", LOOPBACK, HOUR, now()), key_line(made)
    with pytest.raises(TrustError, match="--new-key"):
        join_with_code(made.folder, code)
    assert key_line(made) == before
    assert key_line(join_with_code(made.folder, code, new_key=True)) != before
    assert len(read_sites(server)) == 1


def test_another_name_or_folder_is_refused_before_anything_changes(
    opened: SuperLink, server: ServerFolder, invitation: Invitation, site: Site, tmp_path: Path
) -> None:
    with pytest.raises(TrustError, match="for a site named 'lab-2', and this one calls itself 'site-1'"):
        join_with_code(site.folder, invitation)
    full = tmp_path / "study"
    full.mkdir()
    (full / "film.avi").touch()
    with pytest.raises(SettingsError, match=r"not empty \(film.avi is in it\). Give a new folder"):
        join_with_code(full, invitation)
    with pytest.raises(SettingsError, match="is a file"):
        join_with_code(full / "film.avi", invitation)
    assert files_of(full) == ["film.avi"]
    assert read_sites(server) == ()


@pytest.mark.parametrize(
    "dies_in", ["ask", "adopt_pending_key", "finish_site", "settings", "forget_pending_key"]
)
def test_wherever_it_dies_the_same_code_finishes_it(
    opened: SuperLink,
    server: ServerFolder,
    invitation: Invitation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies_in: str,
) -> None:
    ask, signs_releases = client_door.Door.ask, release_key(server.tls).public_key()

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def die_after(*arguments: object, **options: object) -> None:
        ask(*arguments, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if dies_in == "ask":  # the server has enrolled it, and nobody hears
            patch.setattr(client_door.Door, "ask", die_after)
        elif dies_in == "settings":  # whom it trusts is written, who it is is not
            patch.setattr(tomli_w, "dumps", die)
        else:
            patch.setattr(joining, dies_in, die)
        with pytest.raises(KeyboardInterrupt):
            join_with_code(tmp_path / "site", invitation)
    made = join_with_code(tmp_path / "site", invitation)
    assert [site.public_key for site in read_sites(server)] == [key_line(made)]
    assert read_release_key(made.release_key_file) == signs_releases
    assert (
        public_openssh(open_site(made.folder).private_key().public_key()) in made.public_key_file.read_text()
    )


def test_a_site_learns_who_signs_releases_and_no_later_code_changes_that(
    opened: SuperLink, server: ServerFolder, invitation: Invitation, tmp_path: Path
) -> None:
    signs_releases = release_key(server.tls).public_key()
    made = join_with_code(tmp_path / "site", invitation)
    assert read_release_key(made.release_key_file) == signs_releases
    for name in ("release.key", "release.pub"):
        (server.tls / name).unlink()
    assert release_key(server.tls).public_key() != signs_releases
    revoke(server, "lab-2", now())
    join_with_code(made.folder, invite(server, "lab-2", LOOPBACK, HOUR, now()), new_key=True)
    assert read_release_key(made.release_key_file) == signs_releases


@pytest.mark.parametrize("damaged", [b"", b"rubbish \xff", b"-----BEGIN PUBLIC KEY-----\n" * 400])
def test_a_damaged_release_key_at_the_server_keeps_nobody_out(
    opened: SuperLink, server: ServerFolder, invitation: Invitation, tmp_path: Path, damaged: bytes
) -> None:
    (server.tls / "release.pub").write_bytes(damaged)
    made = join_with_code(tmp_path / "site", invitation)
    assert not made.release_key_file.exists()


def test_the_reply_of_an_older_and_of_a_newer_server_is_understood(
    opened: SuperLink,
    server: ServerFolder,
    invitation: Invitation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OlderReply(BaseModel):
        name: str
        port: int
        mien_version: str

    class NewerReply(EnrolReply):
        of_later: str = "a word"

    monkeypatch.setattr(enrolment_app, "EnrolReply", OlderReply)
    made = join_with_code(tmp_path / "site", invitation)
    assert made.settings.releases_port == 9095, "the usual one, as that server's sites always took it"
    monkeypatch.setattr(enrolment_app, "EnrolReply", NewerReply)
    again = join_with_code(made.folder, invitation)
    assert again.settings.releases_port == server.settings.releases_port


def test_a_half_made_site_takes_another_code_with_another_key(
    server: ServerFolder, invitation: Invitation, tmp_path: Path
) -> None:
    with pytest.raises(ServerUnreachableError, match="Is `mien server up` running"):
        join_with_code(tmp_path / "site", invitation)  # nobody is there
    with open_door(server):
        revoke(server, "lab-2", now())
        with pytest.raises(TrustError, match="Ask the operator for a new code"):
            join_with_code(tmp_path / "site", invitation)
        made = join_with_code(tmp_path / "site", invite(server, "lab-3", LOOPBACK, HOUR, now()))
    assert made.settings.name == "lab-3"


def test_two_machines_race_with_one_code(
    opened: SuperLink, server: ServerFolder, invitation: Invitation, tmp_path: Path
) -> None:
    def try_(number: int) -> Site | MienError:
        try:
            return join_with_code(tmp_path / f"site-{number}", invitation)
        except MienError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(try_, range(4)))
    (winner,) = [each for each in found if isinstance(each, Site)]
    assert [site.public_key for site in read_sites(server)] == [key_line(winner)]
    refused = [str(each) for each in found if isinstance(each, MienError)]
    assert len(refused) == 3
    assert all("the server does not accept this" in each for each in refused)


def test_a_server_that_is_not_ready_is_asked_again(
    opened: SuperLink, invitation: Invitation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_door, "_AGAIN_S", 0.01)
    opened.failures = 2
    assert join_with_code(tmp_path / "site", invitation).settings.name == "lab-2"


def test_a_server_that_never_gets_ready_says_so(
    opened: SuperLink, invitation: Invitation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_door, "PATIENCE_S", 0.0)
    opened.failures = 99
    with pytest.raises(FederationError, match="not ready"):
        join_with_code(tmp_path / "site", invitation)


def test_brute_force_is_told_to_wait(server: ServerFolder, invitation: Invitation, tmp_path: Path) -> None:
    with open_door(server, tries=WrongTries(time.monotonic, per_address=1)):
        guess = Invitation(invitation.host, invitation.port, invitation.fingerprint, bytes(16))
        for said in ("does not accept", "too many wrong tries. Wait 10 min"):
            with pytest.raises(MienError, match=said):
                join_with_code(tmp_path / "site", guess)


class TestTheCommand:
    """`mien agent join`, up to where the agent begins."""

    @pytest.fixture
    def joined(self, monkeypatch: pytest.MonkeyPatch) -> list[Site]:
        """The sites that an agent was started on; this process keeps its own way to be ended."""
        started: list[Site] = []
        monkeypatch.setattr("mien_client.agent.run_agent", started.append)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        return started

    @pytest.mark.usefixtures("opened")
    def test_with_a_code_it_goes_on_as_it_does_without(
        self, invitation: Invitation, tmp_path: Path, joined: list[Site]
    ) -> None:
        folder = tmp_path / "site"
        said = run("join", invitation.code(), "--site", str(folder), "--lag-s", "1.5")
        assert said.stdout.startswith(f"enrolled as lab-2 at {invitation.host}:")
        assert run("join", "--site", str(folder)).exit_code == 0
        assert [(site.settings.name, site.settings.lag_s) for site in joined] == [("lab-2", 1.5)] * 2

    @pytest.mark.usefixtures("opened")
    def test_a_code_from_standard_input(
        self, invitation: Invitation, tmp_path: Path, joined: list[Site]
    ) -> None:
        run("join", "-", "--site", str(tmp_path / "site"), "--enrol-only", given=invitation.code() + "\n")
        assert open_site(tmp_path / "site").settings.name == "lab-2"
        assert joined == []

    def test_a_typing_error_leaves_no_folder(self, invitation: Invitation, tmp_path: Path) -> None:
        code = invitation.code()
        with pytest.raises(InputError, match="Nothing was sent"):
            run("join", code[:-1] + ("0" if code[-1] != "0" else "1"), "--site", str(tmp_path / "site"))
        assert not (tmp_path / "site").exists()

    def test_what_goes_with_a_code_needs_one(self, site: Site) -> None:
        for option in (["--new-key"], ["--enrol-only"], ["--lag-s", "2"], ["--device", "cpu"]):
            with pytest.raises(SettingsError, match="go with a CODE"):
                run("join", "--site", str(site.folder), *option)

    def test_by_file(self, server: ServerFolder, tmp_path: Path) -> None:
        folder, request, bundle = (str(tmp_path / name) for name in ("site", "r.json", "b.json"))
        asked = run("request", "--name", "lab-5", "--site", folder, "--out", request)
        site, made = approve(server, Path(request), None, LOOPBACK, now())
        assert site.fingerprint in asked.stdout
        write_enrolment_file(made, Path(bundle))
        with pytest.raises(TrustError, match="exchanged on its way"):
            run("accept", bundle, "--site", folder, "--authority", "00:11")
        fingerprint = authority_fingerprint(server.ca_certificate.read_bytes())
        assert (
            fingerprint in run("accept", bundle, "--site", folder, "--authority", fingerprint.lower()).stdout
        )
        assert open_site(Path(folder)).settings.name == "lab-5"


def run(*arguments: str, given: str | None = None) -> Result:
    """One of the agent's commands, in this process."""
    return CliRunner().invoke(cli.app, list(arguments), input=given, catch_exceptions=False)


class TestSomebodyInBetween:
    """Whoever else answers at the code's address learns nothing that he could use."""

    def test_another_authority_is_refused_before_the_secret_is_sent(
        self, server: ServerFolder, invitation: Invitation, tmp_path: Path
    ) -> None:
        impostor = make_server(tmp_path / "impostor", enrol_port=server.settings.enrol_port)
        with open_door(impostor), pytest.raises(TrustError, match="is not the server that made this code"):
            join_with_code(tmp_path / "site", invitation)
        assert not (tmp_path / "site" / "site.toml").exists()

    def test_the_true_authority_in_the_impostors_hands_is_not_enough(
        self, server: ServerFolder, invitation: Invitation, tmp_path: Path
    ) -> None:
        """He may hand the true certificate on, for everybody has it; he has no certificate of it."""
        impostor = make_server(tmp_path / "impostor", enrol_port=server.settings.enrol_port)
        own = impostor.ca_certificate.read_bytes()
        heard: list[bytes] = []
        for shown in (server.ca_certificate.read_bytes(), server.ca_certificate.read_bytes() + own):
            with impostor_at(impostor, shown, heard), pytest.raises(TrustError):
                join_with_code(tmp_path / "site", invitation)
        said = b"".join(heard)
        assert b"GET /v1/authority" in said
        assert invitation.secret.hex().encode() not in said
        assert b"POST" not in said

    def test_the_host_name_is_checked(
        self, server: ServerFolder, invitation: Invitation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = make_server(server.path.parent / "other", enrol_port=server.settings.enrol_port)
        for name in ("ca.crt", "ca.key"):
            (elsewhere.tls / name).write_bytes((server.tls / name).read_bytes())
        monkeypatch.setattr(certificates, "default_names", lambda *_: (["elsewhere"], []))
        issue_server_certificate(elsewhere.tls, [], [], 90, now())
        with open_door(elsewhere):
            door = invited_door(invitation)
            with pytest.raises(TrustError, match=r"for another host than 127\.0\.0\.1"):
                door.server_time()

    def test_an_endless_answer_is_cut_off(self, server: ServerFolder, invitation: Invitation) -> None:
        with impostor_at(server, b"x" * 10**6, []), pytest.raises(TrustError, match="no Mien server"):
            invited_door(invitation)

    def test_no_tls_at_all(self, invitation: Invitation) -> None:
        with (
            socket.create_server((LOOPBACK, invitation.port)) as plain,
            ThreadPoolExecutor(1) as answering,
        ):
            answering.submit(lambda: plain.accept()[0].close())
            with pytest.raises(ServerUnreachableError, match="no server enrols at"):
                invited_door(invitation)


@contextmanager
def impostor_at(folder: ServerFolder, shown: bytes, heard: list[bytes]) -> Iterator[None]:
    """A TLS server with ``folder``'s certificate that shows ``shown`` as its authority, and listens well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder.tls / "server.crt", folder.tls / "server.key")
    with socket.create_server((LOOPBACK, folder.settings.enrol_port)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as line:
                        heard.append(line.recv(65536))
                        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(shown) + shown)
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


class TestAWrongClock:
    """Codes live by the server's clock alone; a site's clock is blamed where it is the cause."""

    def test_the_servers_clock_decides(
        self, server: ServerFolder, invitation: Invitation, tmp_path: Path
    ) -> None:
        for wrong in (dt.timedelta(hours=2), dt.timedelta(hours=-2)):
            with (
                open_door(server, clock=lambda wrong=wrong: now() + wrong),  # type: ignore[misc]
                pytest.raises(TrustError, match="does not accept"),
            ):
                join_with_code(tmp_path / "site", invitation)
        with open_door(server):
            join_with_code(tmp_path / "site", invitation)

    @pytest.mark.parametrize(
        ("days", "said"), [(-400, "has expired.*clock is right"), (40, "this machine's clock")]
    )
    def test_a_certificate_out_of_its_time_names_the_clock(
        self, server: ServerFolder, invitation: Invitation, tmp_path: Path, days: int, said: str
    ) -> None:
        """For the site it is the same whether the certificate is old or its own clock runs ahead."""
        issue_server_certificate(server.tls, [], [], 90, now() + dt.timedelta(days=days))
        with open_door(server), pytest.raises(TrustError, match=said):
            join_with_code(tmp_path / "site", invitation)


class TestRotation:
    """`mien agent rotate-key`."""

    @pytest.fixture
    def joined(self, opened: SuperLink, invitation: Invitation, tmp_path: Path) -> Site:  # noqa: ARG002
        return join_with_code(tmp_path / "site", invitation)

    def test_the_key_changes_on_both_sides(self, joined: Site, server: ServerFolder) -> None:
        (joined.state / "node-id").write_text("7\n")
        before = key_line(joined)
        rotate_key(joined)
        assert key_line(joined) != before
        assert [site.public_key for site in read_sites(server)] == [key_line(joined)]
        assert "next.key" not in str(files_of(joined.folder))
        assert not (joined.state / "node-id").exists()

    def test_a_lost_answer_costs_nothing(
        self, joined: Site, server: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, ask = key_line(joined), client_door.Door.ask

        def lost(*arguments: object, **options: object) -> None:
            ask(*arguments, **options)  # type: ignore[arg-type]
            raise ServerUnreachableError("the connection broke")

        with monkeypatch.context() as patch:
            patch.setattr(client_door.Door, "ask", lost)
            with pytest.raises(ServerUnreachableError):
                rotate_key(joined)
        assert key_line(joined) == before != read_sites(server)[0].public_key
        rotate_key(joined)
        assert key_line(joined) == read_sites(server)[0].public_key

    def test_a_revoked_site_cannot(self, joined: Site, server: ServerFolder) -> None:
        before = key_line(joined)
        revoke(server, "lab-2", now())
        with pytest.raises(TrustError):
            rotate_key(joined)
        assert key_line(joined) == before


class TestByFile:
    """Request, approval, bundle: for a machine without a way to the server."""

    def test_the_whole_way(self, server: ServerFolder, tmp_path: Path) -> None:
        folder, request, bundle = tmp_path / "site", tmp_path / "r.json", tmp_path / "b.json"
        fingerprint = write_request(folder, "lab-5", request)
        assert write_request(folder, "lab-5", request) == fingerprint, "asked twice, the key stays"
        assert "PRIVATE" not in request.read_text()
        site, made = approve(server, request, None, LOOPBACK, now())
        assert approve(server, request, "lab-5", LOOPBACK, now())[0] == site, "another bundle for the same"
        assert site.fingerprint == fingerprint
        write_enrolment_file(made, bundle)
        joined = accept_bundle(folder, read_enrolment_file(SiteBundle, bundle, ""), "b.json", lag_s=1.0)
        assert key_line(joined) == site.public_key
        assert (joined.settings.name, joined.settings.lag_s) == ("lab-5", 1.0)
        assert joined.settings.releases_port == server.settings.releases_port
        assert open_site(folder).root_certificate() == server.ca_certificate.read_bytes()

    def test_a_changed_request_is_found(self, server: ServerFolder, tmp_path: Path) -> None:
        request = tmp_path / "r.json"
        write_request(tmp_path / "site", "lab-5", request)
        good = json.loads(request.read_text())
        write_request(tmp_path / "thief", "lab-5", request)
        theirs = json.loads(request.read_text())
        for changed, said in (
            (good | {"name": "lab-6"}, "signature does not hold"),
            (good | {"public_key": theirs["public_key"]}, "signature does not hold"),
            (good | {"name": "../lab"}, "not a request"),
            (good | {"more": 1}, "not a request"),
        ):
            request.write_text(json.dumps(changed))
            with pytest.raises(MienError, match=said):
                approve(server, request, None, LOOPBACK, now())
        request.write_text(json.dumps(good))
        with pytest.raises(SettingsError, match="calls itself 'lab-5', not 'lab-7'"):
            approve(server, request, "lab-7", LOOPBACK, now())
        assert read_sites(server) == ()

    def test_anothers_bundle_is_refused(self, server: ServerFolder, tmp_path: Path) -> None:
        request = tmp_path / "r.json"
        write_request(tmp_path / "site", "lab-5", request)
        _, bundle = approve(server, request, None, LOOPBACK, now())
        for folder in (tmp_path / "elsewhere", tmp_path / "other"):
            with pytest.raises(TrustError, match="is for another site"):
                accept_bundle(folder, bundle, "b.json")
            write_request(tmp_path / "other", "lab-5", tmp_path / "o.json")
        assert not (tmp_path / "other" / "site.toml").exists()

    @pytest.mark.parametrize("content", [b"", b"{}", b"[" * 50_000, b"\xff", b"x" * 100_000])
    def test_rubbish_is_no_bundle(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "b.json").write_bytes(content)
        with pytest.raises(InputError, match=r"b\.json.*Ask the operator"):
            read_enrolment_file(SiteBundle, tmp_path / "b.json", "Ask the operator.")
