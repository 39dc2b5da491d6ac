"""Enrolment: who may join, and everything that is no site's public key is refused."""

import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mien_common.errors import MienError, SettingsError, TrustError
from mien_server.control import Control
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import enrol, public_key_pem, read_sites, register, revoke

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def public_key_file(path: Path, key: PrivateKey | None = None, comment: str = "") -> Path:
    key = key or ec.generate_private_key(ec.SECP384R1())
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.write_bytes(line + comment.encode() + b"\n")
    return path


class FakeControl(Control):
    """A SuperLink's memory of keys."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}

    def node_ids(self) -> dict[bytes, int]:
        return dict(self.known)

    def register_site(self, _name: str, public_key_pem: bytes) -> int:
        assert public_key_pem not in self.known, "Flower refuses a key twice"
        self.known[public_key_pem] = 100 + len(self.known)
        return self.known[public_key_pem]

    def unregister_site(self, node_id: int) -> None:
        self.known = {key: node for key, node in self.known.items() if node != node_id}


def test_an_enrolled_site_is_kept(folder: ServerFolder, tmp_path: Path) -> None:
    site = enrol(folder, public_key_file(tmp_path / "a.pub", comment=" someone@lab"), "lab-2")
    enrol(folder, public_key_file(tmp_path / "b.pub"), "lab-1")

    assert [kept.name for kept in read_sites(folder)] == ["lab-1", "lab-2"]
    assert read_sites(folder)[1] == site
    assert site.node_id is None
    assert "someone" not in folder.sites_file.read_text()


def test_the_fingerprint_is_ssh_keygens(folder: ServerFolder, tmp_path: Path) -> None:
    # Made once with ssh-keygen -t ecdsa -b 256; the second string is what ssh-keygen -l printed.
    line = (
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLNuT5WsNji2Om5XwM"
        "ROXX18qBYWah79iSNn49pnTpmcn/pTpK5X1psUmB2ooHQIihWigRNFKSFPG5H3NDS2pRc="
    )
    (tmp_path / "k.pub").write_text(line)

    assert (
        enrol(folder, tmp_path / "k.pub", "lab").fingerprint
        == "SHA256:cXhrS9XVwBACyJhBDGfzfqYMQed0C0orkdDFQEUPZv0"
    )


@pytest.mark.parametrize("name", ["", "Lab", "lab_1", "-lab", "lab-", "a" * 33, "läb", "lab\n", "../lab"])
def test_a_name_that_cannot_be_a_sites_is_refused(folder: ServerFolder, tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a site's name"):
        enrol(folder, public_key_file(tmp_path / "a.pub"), name)


def test_a_name_is_given_once(folder: ServerFolder, tmp_path: Path) -> None:
    enrol(folder, public_key_file(tmp_path / "a.pub"), "lab-1")

    with pytest.raises(SettingsError, match="'lab-1' is enrolled already"):
        enrol(folder, public_key_file(tmp_path / "b.pub"), "lab-1")


def test_a_key_is_enrolled_once(folder: ServerFolder, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    enrol(folder, public_key_file(tmp_path / "a.pub", key), "lab-1")

    with pytest.raises(TrustError, match="enrolled already, as 'lab-1'"):
        enrol(folder, public_key_file(tmp_path / "b.pub", key, " other comment"), "lab-2")


@pytest.mark.parametrize("form", [serialization.PrivateFormat.OpenSSH, serialization.PrivateFormat.PKCS8])
def test_a_private_key_is_refused_by_name(
    folder: ServerFolder, tmp_path: Path, form: serialization.PrivateFormat
) -> None:
    file = tmp_path / "site.key"
    key = ec.generate_private_key(ec.SECP384R1())
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))

    with pytest.raises(TrustError, match=r"site\.key is a PRIVATE key"):
        enrol(folder, file, "lab-1")


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"ecdsa-sha2-nistp384 AAAA", b"\x00\xff" * 50, b"x" * 100_000]
)
def test_rubbish_is_refused(folder: ServerFolder, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "site.pub").write_bytes(content)

    with pytest.raises(TrustError, match=r"site\.pub"):
        enrol(folder, tmp_path / "site.pub", "lab-1")
    assert read_sites(folder) == ()


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "missing"])
def test_a_key_of_another_kind_is_refused(folder: ServerFolder, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "site.pub"
    if kind == "rsa":
        public_key_file(file, rsa.generate_private_key(65537, 2048))
    elif kind == "ed25519":
        public_key_file(file, ed25519.Ed25519PrivateKey.generate())

    with pytest.raises(TrustError, match=r"site\.pub"):
        enrol(folder, file, "lab-1")


def test_a_damaged_list_is_not_overwritten(folder: ServerFolder, tmp_path: Path) -> None:
    folder.sites_file.write_text('{"sites": [{"name": 3}]}')

    with pytest.raises(MienError, match=r"sites\.json is damaged"):
        enrol(folder, public_key_file(tmp_path / "a.pub"), "lab-1")
    assert "3" in folder.sites_file.read_text()


def test_registration_is_repeatable_and_mends_itself(folder: ServerFolder, tmp_path: Path) -> None:
    enrol(folder, public_key_file(tmp_path / "a.pub"), "lab-1")
    control = FakeControl()

    assert [site.name for site in register(folder, control)] == ["lab-1"]
    assert register(folder, control) == []
    first = read_sites(folder)[0]
    assert first.node_id == control.known[public_key_pem(first)]

    enrol(folder, public_key_file(tmp_path / "b.pub"), "lab-2")
    control.known = {b"another": 7}  # Flower's database was lost
    assert [site.name for site in register(folder, control)] == ["lab-1", "lab-2"]
    assert {site.node_id for site in read_sites(folder)} == {101, 102}


def test_a_site_is_enrolled_under_the_name_it_calls_itself(folder: ServerFolder, tmp_path: Path) -> None:
    """`mien agent init` writes it behind the key; under another name every update would be rejected."""
    key = ec.generate_private_key(ec.SECP384R1())
    file = public_key_file(tmp_path / "site.pub", key, " lab-3")
    with pytest.raises(SettingsError, match="calls itself 'lab-3', not 'lab-1'"):
        enrol(folder, file, "lab-1")
    assert enrol(folder, file, "lab-3").name == "lab-3"


def test_a_revoked_key_is_taken_off_and_a_stranger_is_left(folder: ServerFolder, tmp_path: Path) -> None:
    """Flower refuses a key for good once it was taken off, so that is done to keys that were refused only."""
    for name in ("lab-1", "lab-2"):
        enrol(folder, public_key_file(tmp_path / f"{name}.pub"), name)
    control = FakeControl()
    register(folder, control)
    control.known[b"another"] = 7
    revoke(folder, "lab-1", dt.datetime.now(dt.UTC))
    assert [site.name for site in read_sites(folder)] == ["lab-2"]
    assert register(folder, control) == []
    assert control.known == {
        public_key_pem(read_sites(folder)[0]): read_sites(folder)[0].node_id,
        b"another": 7,
    }


def test_a_name_is_free_again_after_its_site_was_revoked(folder: ServerFolder, tmp_path: Path) -> None:
    first = enrol(folder, public_key_file(tmp_path / "a.pub"), "lab-1")
    revoke(folder, "lab-1", dt.datetime.now(dt.UTC))
    with pytest.raises(TrustError, match="was revoked"):
        enrol(folder, tmp_path / "a.pub", "lab-1")
    second = enrol(folder, public_key_file(tmp_path / "b.pub"), "lab-1")
    assert read_sites(folder) == (second,)
    assert second.public_key != first.public_key


def test_nobody_of_that_name_to_revoke(folder: ServerFolder) -> None:
    with pytest.raises(SettingsError, match="mien server sites"):
        revoke(folder, "lab-1", dt.datetime.now(dt.UTC))


def test_a_list_of_an_older_version_is_read(folder: ServerFolder, tmp_path: Path) -> None:
    site = enrol(folder, public_key_file(tmp_path / "a.pub"), "lab-1")
    old = {"name": "lab-1", "public_key": site.public_key, "fingerprint": site.fingerprint, "node_id": 5}
    folder.sites_file.write_text(json.dumps({"sites": [old]}))
    (read,) = read_sites(folder)
    assert (read.node_id, read.key_since, read.revoked) == (5, None, None)
    enrol(folder, public_key_file(tmp_path / "b.pub"), "lab-2")
    assert len(read_sites(folder)) == 2
