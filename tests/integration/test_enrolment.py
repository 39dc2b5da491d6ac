"""Enrolment at a real server: a lab joins with a code, is revoked, and its very next message is refused."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien_client.doctor import examine
from mien_client.fleet import Fleet
from mien_client.joining import join_with_code
from mien_client.key_rotation import rotate_key
from mien_client.site import Site, open_site
from mien_common.errors import TrustError
from mien_common.invitation import read_code
from mien_lab.federation import Federation
from mien_server import cli
from mien_server.folder import open_folder
from mien_server.membership.standing import standings

Standing = Callable[..., Federation]


def operator(federation: Federation, *arguments: str) -> str:
    """What one of the operator's commands prints."""
    said = CliRunner().invoke(cli.app, [*arguments, "--dir", str(federation.server)], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return said.stdout


def code_for(federation: Federation, name: str) -> str:
    printed = operator(federation, "invite", "--name", name, "--host", "127.0.0.1", "--json")
    return str(json.loads(printed)["code"])


def connect(site: Site) -> Fleet:
    return Fleet(site.settings.server, site.root_certificate(), site.private_key(), site.state)


def state(federation: Federation, name: str) -> str:
    found, asked = standings(open_folder(federation.server), dt.datetime.now(dt.UTC))
    assert asked
    return {each.name: each.state for each in found}[name]


def logs(federation: Federation) -> dict[Path, str]:
    return {path: path.read_text(errors="replace") for path in federation.folder.rglob("*.log")}


def test_invited_joined_revoked_and_back(standing: Standing, tmp_path: Path) -> None:
    federation = standing()
    before = logs(federation)
    code = code_for(federation, "lab-9")
    site = join_with_code(federation.site("lab-9"), read_code(code))
    signs_releases = federation.server / "tls" / "release.pub"
    assert site.release_key_file.read_bytes() == signs_releases.read_bytes()
    assert site.settings.releases_port == federation.releases_port
    with connect(site) as fleet:
        assert fleet.receive() is None
        assert state(federation, "lab-9") == "online"
        checked = {each.check: each.state for each in examine(site.folder)}
        assert checked["enrolment"] == checked["clock"] == checked["TLS chain"] == "ok"

        assert "from its next message on" in operator(federation, "revoke", "lab-9")
        with pytest.raises(TrustError, match="Was it revoked"):
            fleet.receive()
    with pytest.raises(TrustError, match="mien agent join CODE --new-key"):
        connect(site)
    assert state(federation, "lab-9") == "revoked"

    # Back with a new key; which is then changed for another, and the one before is refused from then on.
    back = join_with_code(site.folder, read_code(code_for(federation, "lab-9")), new_key=True)
    with connect(back) as fleet:
        fleet.receive()
        rotate_key(back)
        with pytest.raises(TrustError):
            fleet.receive()
    with connect(open_site(site.folder)) as after:
        assert after.receive() is None

    with pytest.raises(TrustError, match="does not accept"):
        join_with_code(tmp_path / "thief", read_code(code))
    operator(federation, "revoke", "lab-9")
    said = "".join(text.removeprefix(before.get(path, "")) for path, text in logs(federation).items())
    assert "event=refused request=enrol" in said
    assert "Traceback" not in said
    for secret in (code.partition("/")[2], read_code(code).secret.hex()):
        assert secret not in said
        assert secret.replace("-", "") not in said
    recorded = (federation.server / "state" / "events.jsonl").read_text().splitlines()
    kinds = [event["event"] for event in map(json.loads, recorded) if event.get("site") == "lab-9"]
    assert kinds == ["invited", "enrolled", "revoked", "invited", "enrolled", "key_rotated", "revoked"]
