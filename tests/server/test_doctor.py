"""`mien server doctor`, `sites`, `invite`, `revoke`, `approve`: where no server runs."""

import datetime as dt
import json
import logging
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien_common.enrolment_files import SiteRequest, write_enrolment_file
from mien_common.findings import Finding
from mien_common.invitation import authority_fingerprint, read_code
from mien_common.site_keys import new_key, public_openssh, sign
from mien_server import cli, doctor
from mien_server.certificates import issue_server_certificate, warn_of_ends
from mien_server.folder import ServerFolder, ServerSettings
from mien_server.membership.enrolment import enrol_key
from mien_server.publishing.release_key import release_key
from tests.made_models import publish_model
from tests.server.door_thread import now, open_door


def findings(folder: ServerFolder, when: dt.datetime | None = None) -> dict[str, Finding]:
    return {found.check: found for found in doctor.examine(folder, when or now())}


def run(folder: ServerFolder, *arguments: str, code: int = 0) -> str:
    said = CliRunner().invoke(cli.app, [*arguments, "--dir", str(folder.path)], catch_exceptions=False)
    assert said.exit_code == code, said.output
    return said.stdout


def test_a_server_that_does_not_run(folder: ServerFolder) -> None:
    issue_server_certificate(folder.tls, [], [], 90, now())
    found = findings(folder)
    assert list(found) == [
        *("versions", "disk", "private files", "certificate", "host names", "clock", "server", "listening"),
        *("enrolment port", "releases port", "dashboard port", "enrolment", "releases", "history"),
    ]
    silent = {"server", "enrolment port", "releases port", "dashboard port"}
    assert {check for check, each in found.items() if each.state == "fault"} == silent
    assert f"mien server up --dir {folder.path}" in found["server"].remedy
    assert "mien server invite" in found["enrolment"].remedy
    assert all(each.remedy for each in found.values() if each.state != "ok")
    with open_door(folder):
        assert findings(folder)["enrolment port"].state == "ok"


def test_releases(folder: ServerFolder) -> None:
    publish_model(folder.models)
    run(folder, "promote", "latest")
    found = findings(folder)["releases"]
    assert (found.state, found.found.startswith("1, the latest 1.0.0, signed with the key ")) == ("ok", True)
    run(folder, "releases", "rotate-key")
    assert findings(folder)["releases"].state == "ok", "what the former key signed is in order"
    page = folder.releases / "1.0.0" / "MODEL_CARD.md"
    whole = page.read_text()
    page.chmod(0o644)
    page.write_text(whole + "\nEndorsed by everybody.\n")
    found = findings(folder)["releases"]
    assert (found.state, "MODEL_CARD.md is not what was signed" in found.found) == ("fault", True)
    assert "put it back from a copy" in found.remedy
    page.write_text(whole)

    (folder.releases / "release-keys.json").unlink()
    (folder.tls / "release.key").unlink()
    assert "put it back" in findings(folder)["releases"].remedy
    # Another key in its place: what sites fetch no longer holds.
    (folder.tls / "release.pub").unlink()
    release_key(folder.tls)
    found = findings(folder)["releases"]
    assert (found.state, "not by the key" in found.found) == ("fault", True)
    run(folder, "releases")
    assert "release 1.0.0" in findings(folder)["releases"].found, "signed by a key that no list leads from"


def test_certificates(folder: ServerFolder) -> None:
    issue_server_certificate(folder.tls, [], [], 29, now())
    soon = findings(folder)["certificate"]
    assert (soon.state, "ends in 28 days" in soon.found) == ("warning", True)
    assert "--renew" in soon.remedy
    old = findings(folder, now() + dt.timedelta(days=40))["certificate"]
    assert old.state == "fault"
    assert "--renew" in old.remedy
    (folder.tls / "server.crt").unlink()
    assert findings(folder)["certificate"].state == "fault"


def test_up_warns_of_both_certificates(folder: ServerFolder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    issue_server_certificate(folder.tls, [], [], 90, now())
    warn_of_ends(folder.tls, now())
    assert caplog.text == ""
    warn_of_ends(folder.tls, now() + dt.timedelta(days=61))
    assert "server.crt" in caplog.text
    assert "ca.crt" not in caplog.text
    warn_of_ends(folder.tls, now() + dt.timedelta(days=3650 - 29))
    assert "ca.crt" in caplog.text


def test_private_files(folder: ServerFolder) -> None:
    (folder.tls / "ca.key").chmod(0o640)
    found = findings(folder)["private files"]
    assert found.state == "fault"
    assert found.remedy == f"chmod go-rwx {folder.tls / 'ca.key'}"


def test_host_names(folder: ServerFolder) -> None:
    named = ServerFolder(
        folder.path, ServerSettings(**(folder.settings.model_dump() | {"hosts": ("mien.invalid",)}))
    )
    lacking = findings(named)["host names"]
    assert (lacking.state, "not for mien.invalid" in lacking.found) == ("fault", True)
    issue_server_certificate(folder.tls, ["mien.invalid"], [], 90, now())
    unknown = findings(named)["host names"]
    assert (unknown.state, "does not know mien.invalid" in unknown.found) == ("warning", True)
    here = ServerFolder(
        folder.path, ServerSettings(**(folder.settings.model_dump() | {"hosts": ("localhost",)}))
    )
    assert findings(here)["host names"].state == "ok"


def test_clock_disk_and_sites(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    back = findings(folder, now() - dt.timedelta(days=2))["clock"]
    assert (back.state, "before this folder was written" in back.found) == ("fault", True)
    for free, state in ((10**12, "ok"), (10**9, "warning"), (10**8, "fault")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(0, 0, free))
        assert findings(folder)["disk"].state == state
    long_ago = now() - dt.timedelta(days=720)
    enrol_key(folder, public_openssh(new_key().public_key()), "lab-1", long_ago, "site.pub")
    assert "mien agent rotate-key" in findings(folder)["keys"].remedy
    folder.sites_file.write_text("rubbish")
    assert findings(folder)["enrolment"].state == "fault"


def test_the_command(folder: ServerFolder, tmp_path: Path) -> None:
    said = run(folder, "doctor", code=1)
    assert any(line.startswith("fault    server") for line in said.splitlines())
    assert len(json.loads(run(folder, "doctor", "--json", code=1))) == len(said.splitlines())
    nothing = CliRunner().invoke(cli.app, ["doctor", "--dir", str(tmp_path / "nowhere")])
    assert nothing.exit_code == 1
    assert nothing.stdout.startswith("fault    folder")


def test_an_invitation_is_printed_listed_and_withdrawn(folder: ServerFolder) -> None:
    said = json.loads(run(folder, "invite", "--name", "lab-2", "--host", "::1", "--hours", "2", "--json"))
    assert read_code(said["code"]).address == f"[::1]:{folder.settings.enrol_port}"
    ends = dt.datetime.fromisoformat(said["expires"])
    assert dt.timedelta(hours=1.9) < ends - now() <= dt.timedelta(hours=2)
    printed = run(folder, "invite", "--name", "lab-2", "--host", "::1")
    assert f"mien agent join '[::1]:{folder.settings.enrol_port}/" in printed
    run(folder, "invite", "--name", "lab-3", "--host", "127.0.0.1", "--hours", "0.5")
    enrol_key(folder, public_openssh(new_key().public_key()), "lab-1", now(), "site.pub")
    states = [json.loads(line) for line in run(folder, "sites", "--json").splitlines()]
    assert [(each["name"], each["state"]) for each in states] == [
        *(("lab-1", "enrolled"), ("lab-2", "invited"), ("lab-3", "invited"))
    ]
    assert "withdrew 1 invitation for lab-2" in run(folder, "revoke", "lab-2")
    assert "no server runs; the next `up` refuses it" in run(folder, "revoke", "lab-1")
    listed = run(folder, "sites").splitlines()
    assert [line.split()[:2] for line in listed] == [["lab-1", "revoked"], ["lab-3", "invited"]]


def test_a_request_is_approved(folder: ServerFolder, tmp_path: Path) -> None:
    key = new_key()
    public = public_openssh(key.public_key())
    signature = sign(key, SiteRequest.statement("lab-5", public))
    asked = SiteRequest(name="lab-5", public_key=public, signature=signature)
    write_enrolment_file(asked, tmp_path / "r.json")
    out = tmp_path / "lab-5.bundle.json"
    said = run(folder, "approve", str(tmp_path / "r.json"), "--host", "127.0.0.1", "--out", str(out))
    assert authority_fingerprint(folder.ca_certificate.read_bytes()) in said
    assert json.loads(out.read_text())["server"] == f"127.0.0.1:{folder.settings.port}"
    assert "PRIVATE" not in out.read_text()
