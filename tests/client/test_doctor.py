"""`mien agent doctor`: a site is broken in each way, and the line says what is wrong and how to mend it."""

import datetime as dt
import json
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien_client import cli, doctor, door
from mien_client.face.confinement_record import ConfinementReport
from mien_client.joining import join_with_code
from mien_client.site import Site, SiteSettings, create_site, open_site
from mien_client.status import site_status
from mien_client.trust import note_server_certificate
from mien_common.findings import Finding
from mien_server.certificates import CA_DAYS, issue_server_certificate, make_authority
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import revoke
from mien_server.membership.invites import invite
from tests.client.test_joining import HOUR, LOOPBACK, make_server
from tests.server.door_thread import now, open_door


@pytest.fixture(autouse=True)
def _no_trial_of_the_confinement(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts a process, and has tests of its own."""
    monkeypatch.setattr(doctor, "confinement_report", lambda: ConfinementReport(True, "", 4))


@pytest.fixture(autouse=True)
def _room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """However full the disk is that the tests run on."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 10**12))


@pytest.fixture
def server(tmp_path: Path) -> ServerFolder:
    return make_server(tmp_path / "server")


@pytest.fixture
def site(server: ServerFolder, tmp_path: Path) -> Site:
    with open_door(server):
        return join_with_code(tmp_path / "site", invite(server, "lab-2", LOOPBACK, HOUR, now()))


@contextmanager
def running(folder: ServerFolder) -> Iterator[None]:
    """The door, and something that speaks TLS where agents connect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder.tls / "server.crt", folder.tls / "server.key")
    with open_door(folder), socket.create_server((LOOPBACK, folder.settings.port)) as fleet:

        def serve() -> None:
            while True:
                try:
                    plain, _ = fleet.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as line:
                        line.recv(1)
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            fleet.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=60)
        assert not thread.is_alive()


def findings(site: Path) -> dict[str, Finding]:
    return {found.check: found for found in doctor.examine(site)}


def test_a_healthy_site(site: Site, server: ServerFolder) -> None:
    with running(server):
        found = findings(site.folder)
    assert list(found) == [
        *("site", "key", "name resolution", "port", "TLS chain", "host name", "clock", "enrolment"),
        *("versions", "camera", "CUDA", "face process", "disk"),
    ]
    assert {check for check, each in found.items() if each.state != "ok"} <= {"camera"}
    assert all(each.remedy for each in found.values() if each.state != "ok")
    assert found["enrolment"].found == "enrolled as lab-2"


def test_no_site_at_all(tmp_path: Path) -> None:
    (only,) = doctor.examine(tmp_path)
    assert (only.check, only.state) == ("site", "fault")
    assert "is not a site" in only.found


def test_a_name_that_nobody_knows(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some networks' own name servers know every name: they are not asked."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    settings = site.folder / "site.toml"
    settings.write_text(settings.read_text().replace(LOOPBACK, "mien.invalid"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = findings(site.folder)["name resolution"]
    assert found.state == "fault"
    assert "does not know mien.invalid" in found.found
    assert "/etc/hosts" in found.remedy


def test_nobody_at_the_port(site: Site) -> None:
    found = findings(site.folder)
    assert found["port"].state == "fault"
    assert "mien server up" in found["port"].remedy
    assert "enrolment" not in found, "it cannot be told"
    assert found["disk"].state == "ok", "what does not need the network is looked at all the same"


def test_another_authority(site: Site, server: ServerFolder, tmp_path: Path) -> None:
    other = make_server(tmp_path / "other")
    for name in ("server.crt", "server.key"):
        shutil.copy(other.tls / name, server.tls / name)
    with running(server):
        found = findings(site.folder)
    assert found["TLS chain"].state == "fault"
    assert "is not from this site's ca.crt" in found["TLS chain"].found
    assert "tls/ca.crt" in found["TLS chain"].remedy


def test_another_host(site: Site, server: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien_server.certificates.default_names", lambda *_: (["elsewhere"], []))
    issue_server_certificate(server.tls, [], [], 90, now())
    with running(server):
        found = findings(site.folder)
    assert found["TLS chain"].state == "ok"
    assert found["host name"].state == "fault"
    assert "--renew --host NAME" in found["host name"].remedy


def test_a_certificate_that_ends_soon(site: Site, server: ServerFolder) -> None:
    issue_server_certificate(server.tls, [], [], 29, now())
    with running(server):
        found = findings(site.folder)["TLS chain"]
    assert found.state == "warning"
    assert "ends in 28 days" in found.found
    assert "mien server init DIR --renew" in found.remedy


@pytest.mark.parametrize(
    ("days", "state", "said"), [(20, "warning", "ends in 19 days"), (-1, "fault", "ended on ")]
)
def test_an_authority_that_ends_is_not_mended_by_a_renewed_certificate(
    server: ServerFolder, tmp_path: Path, days: int, state: str, said: str
) -> None:
    make_authority(server.tls, now() + dt.timedelta(days=days - CA_DAYS))
    issue_server_certificate(server.tls, [], [], 90, now())
    folder = create_site(
        tmp_path / "site",
        SiteSettings(
            name="lab-2",
            server=f"{LOOPBACK}:{server.settings.port}",
            enrol_port=server.settings.enrol_port,
        ),
        server.ca_certificate,
    ).folder
    with running(server):
        found = findings(folder)
    assert found["authority"].state == "warning"
    assert said in found["authority"].found
    chain = found["TLS chain"]
    assert (chain.state, said in chain.found) == (("ok", False) if state == "warning" else ("fault", True))
    told = chain if state == "fault" else found["authority"]
    assert "mien agent join CODE" in told.remedy
    assert "--renew" not in told.remedy + chain.remedy


@pytest.mark.parametrize(
    ("seconds", "state", "where"),
    [
        (20, "ok", "ahead of"),
        (-100, "warning", "behind"),
        (400, "fault", "ahead of"),
        (-400, "fault", "behind"),
    ],
)
def test_a_clock_that_is_off(
    site: Site, server: ServerFolder, monkeypatch: pytest.MonkeyPatch, seconds: int, state: str, where: str
) -> None:
    """The server's clock is moved instead of this machine's."""
    told = door._date
    monkeypatch.setattr(
        door, "_date", lambda header: (found := told(header)) and found - dt.timedelta(seconds=seconds)
    )
    with running(server):
        found = findings(site.folder)["clock"]
    assert found.state == state
    assert where in found.found
    assert (found.remedy == "") == (state == "ok")


def test_a_clock_that_is_off_by_years_is_told_from_an_old_certificate(
    site: Site, server: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_server_certificate(server.tls, [], [], 30, now() - dt.timedelta(days=60))
    with running(server):
        assert "Ask the operator to renew" in findings(site.folder)["TLS chain"].remedy
        told = door._date
        monkeypatch.setattr(
            door, "_date", lambda header: (found := told(header)) and found - dt.timedelta(days=40)
        )
        found = findings(site.folder)
    assert "by this machine's clock, which is wrong" in found["TLS chain"].found
    assert found["clock"].state == "fault"


def test_enrolment(site: Site, server: ServerFolder, tmp_path: Path) -> None:
    settings = site.folder / "site.toml"
    whole = settings.read_text()
    with running(server):
        settings.write_text(whole.replace("lab-2", "lab-9"))
        renamed = findings(site.folder)["enrolment"]
        settings.write_text(whole)
        revoke(server, "lab-2", now())
        revoked = findings(site.folder)["enrolment"]
        server.sites_file.unlink()
        unknown = findings(site.folder)["enrolment"]
    assert [each.state for each in (renamed, revoked, unknown)] == ["fault"] * 3
    assert 'write name = "lab-2"' in renamed.remedy
    assert "revoked this site's key" in revoked.found
    assert "--new-key" in revoked.remedy
    assert "does not know this site's key" in unknown.found
    assert "mien agent join CODE" in unknown.remedy


def test_a_closed_enrolment_port(site: Site, server: ServerFolder) -> None:
    settings = site.folder / "site.toml"
    settings.write_text(settings.read_text().replace(str(server.settings.enrol_port), "1"))
    with running(server):
        found = findings(site.folder)
    assert (found["clock"].state, found["enrolment"].state) == ("warning", "warning")
    assert "port 1 let through" in found["clock"].remedy


def test_versions(site: Site, server: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien_server.web.enrolment_app.MIEN_VERSION", "9.9")
    with running(server):
        found = findings(site.folder)["versions"]
    assert found.state == "warning"
    assert "at the server mien 9.9" in found.found


def test_the_key(site: Site) -> None:
    site.private_key_file.chmod(0o644)
    found = findings(site.folder)["key"]
    assert (found.state, found.remedy) == ("fault", f"Run: chmod 600 {site.private_key_file}")
    site.private_key_file.chmod(0o600)
    old = now().timestamp() - 710 * 86400
    os.utime(site.private_key_file, (old, old))
    old_key = [each for each in doctor.examine(site.folder) if each.check == "key"][-1]
    assert (old_key.state, old_key.remedy) == ("warning", "mien agent rotate-key")


def test_cuda_camera_face_process_and_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = site.folder / "site.toml"
    monkeypatch.setattr(doctor, "cuda_devices", lambda: 0)
    assert findings(site.folder)["CUDA"].state == "ok"
    settings.write_text(settings.read_text().replace('"auto"', '"cuda"'))
    assert findings(site.folder)["CUDA"].state == "fault"
    monkeypatch.setattr(doctor, "cuda_devices", lambda: 2)
    assert "training is on CUDA" in findings(site.folder)["CUDA"].found

    monkeypatch.setattr(doctor, "confinement_report", lambda: ConfinementReport(False, "no seccomp", 0))
    assert findings(site.folder)["face process"].state == "fault"

    for free, state in ((10**12, "ok"), (10**9, "warning"), (10**8, "fault")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(0, 0, free))
        assert findings(site.folder)["disk"].state == state


def test_the_command(site: Site) -> None:
    """One line per check; exit 1 on a fault; the same as JSON."""
    runner = CliRunner()
    said = runner.invoke(cli.app, ["doctor", "--site", str(site.folder)])
    assert said.exit_code == 1
    assert any(line.startswith("fault    port") and " → " in line for line in said.stdout.splitlines())
    machine = runner.invoke(cli.app, ["doctor", "--site", str(site.folder), "--json"])
    assert machine.exit_code == 1
    listed = json.loads(machine.stdout)
    assert len(listed) == len(said.stdout.splitlines())
    assert {"check", "state", "found", "remedy"} == set(listed[0])


def test_status_warns_of_what_ends_without_asking_anybody(site: Site) -> None:
    assert site_status(site.folder).ending == []
    note_server_certificate(open_site(site.folder), now() + dt.timedelta(days=12, hours=1))
    (said,) = site_status(site.folder).ending
    assert "the server's certificate ends in 12 days" in said.found
    printed = CliRunner().invoke(cli.app, ["status", "--site", str(site.folder)])
    assert printed.exit_code == 0
    assert "WARNING       the server's certificate ends in 12 days" in printed.stdout
