"""The site's folder: made whole, its key guarded, its settings checked."""

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pydantic import ValidationError

from mien_client.site import (
    Site,
    SiteSettings,
    create_site,
    first_problem,
    lock_file,
    open_site,
    read_certificate,
)
from mien_common.errors import InputError, SettingsError, StorageError, TrustError

SETTINGS = SiteSettings(name="site-1", server="127.0.0.1:9092")


@pytest.fixture
def authority(tmp_path: Path, ca_pem: bytes) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(ca_pem)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_site_can_be_opened(tmp_path: Path, authority: Path) -> None:
    create_site(tmp_path / "deep" / "site", SETTINGS, authority)
    site = open_site(tmp_path / "deep" / "site")
    assert site.settings == SETTINGS
    assert site.root_certificate() == authority.read_bytes()
    assert sorted(path.name for path in site.folder.iterdir()) == [
        *("ca.crt", "keys", "sessions", "site.toml", "state")
    ]


def test_the_private_key_is_the_owners_alone(site: Site) -> None:
    assert mode(site.private_key_file) == 0o600
    assert mode(site.private_key_file.parent) == 0o700
    assert mode(site.state) == 0o700


def test_the_public_key_belongs_to_the_private_one(site: Site) -> None:
    private = site.private_key()
    assert isinstance(private.curve, ec.SECP384R1)
    content = site.public_key_file.read_bytes()
    public = serialization.load_ssh_public_key(content)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.public_numbers() == private.public_key().public_numbers()
    assert content.endswith(b" site-1\n")
    assert b"PRIVATE" not in content


def test_two_sites_have_two_keys(tmp_path: Path, authority: Path) -> None:
    one, two = (create_site(tmp_path / name, SETTINGS, authority) for name in "ab")
    assert one.public_key_file.read_bytes() != two.public_key_file.read_bytes()


def test_a_site_is_never_made_anew(site: Site, authority: Path) -> None:
    key = site.private_key_file.read_bytes()
    with pytest.raises(SettingsError, match=r"is a site already.*its key stays as it is"):
        create_site(site.folder, SETTINGS, authority)
    assert site.private_key_file.read_bytes() == key


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_can_read_is_refused(site: Site, bits: int) -> None:
    site.private_key_file.chmod(bits)
    with pytest.raises(TrustError, match=f"can be read by others. Run: chmod 600 {site.private_key_file}"):
        site.private_key()


def _ed25519() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _with_passphrase() -> bytes:
    return ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a usable private key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nZm9v\n-----END OPENSSH PRIVATE KEY-----\n", "not a usable"),
        (b"\0\xff" * 100, "is not a usable private key"),
        (b"x" * 300_000, "is not a usable private key"),
        (_with_passphrase(), "is not a usable private key"),
        (_ed25519(), "holds no elliptic-curve key"),
    ],
    ids=["empty", "hollow", "binary", "huge", "with a passphrase", "another kind"],
)
def test_a_key_that_is_none_is_refused(site: Site, content: bytes, message: str) -> None:
    site.private_key_file.write_bytes(content)
    with pytest.raises(TrustError, match=message):
        site.private_key()


def test_a_missing_key_is_refused(site: Site) -> None:
    site.private_key_file.unlink()
    with pytest.raises(TrustError, match=r"is not a usable private key\. Restore it"):
        site.private_key()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n"],
    ids=["empty", "text", "binary", "hollow"],
)
def test_a_certificate_that_is_none_is_refused(tmp_path: Path, authority: Path, content: bytes) -> None:
    authority.write_bytes(content)
    with pytest.raises(TrustError, match=r"is not a readable certificate\. Give the server's tls/ca\.crt"):
        create_site(tmp_path / "site", SETTINGS, authority)
    assert not (tmp_path / "site").exists()


def test_words_around_a_certificate_do_no_harm(authority: Path, ca_pem: bytes) -> None:
    """Some tools print a certificate in words first, in any encoding."""
    authority.write_bytes("Gültig für München\n".encode("latin-1") + ca_pem)
    read_certificate(authority).decode("ascii")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, authority: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        create_site(tmp_path / "file" / "site", SETTINGS, authority)


def test_a_folder_that_is_no_site_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is not a site: it has no site\.toml"):
        open_site(tmp_path)
    with pytest.raises(InputError, match="File name too long"):
        open_site(tmp_path / ("s" * 300))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour = 'blue'", "colour: Extra inputs are not permitted"),
        ("lag_s = -1.0", "lag_s: Input should be greater than or equal to 0"),
        ("lag_s = 21", "lag_s: Input should be less than or equal to 20"),
        ("lag_s = nan", "lag_s:"),
        ("lag_s = 'two'", "lag_s: Input should be a valid number"),
        ("device = 'tpu'", "device: Input should be 'auto', 'cpu' or 'cuda'"),
        ("threads = 0", "threads: Input should be greater than or equal to 1"),
        ("device = ", "cannot be read"),
        ("name = 'again'", "cannot be read"),
        ("# caf\xe9".encode("latin-1").decode("latin-1"), None),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(site: Site, line: str, message: str | None) -> None:
    path = site.folder / "site.toml"
    kept = [text for text in path.read_text().splitlines() if text.split(" ")[0] not in line.split(" ")[:1]]
    path.write_text("\n".join([*kept, *(["name = 'site-1'"] if "again" in line else []), line]))
    if message is None:
        assert open_site(site.folder).settings == site.settings
        return
    with pytest.raises(SettingsError) as raised:
        open_site(site.folder)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)
    assert str(raised.value).endswith("Mend it by hand.")


def test_settings_that_are_no_text_are_refused(site: Site) -> None:
    (site.folder / "site.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"site\.toml cannot be read"):
        open_site(site.folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Anna Meier"},
        {"name": ""},
        {"name": "-a"},
        {"name": "a" * 33},
        {"server": "localhost"},
        {"server": "localhost:"},
        {"server": "localhost:port"},
        {"server": "https://localhost:9092"},
        {"server": ":9092"},
        {"server": "a b:9092"},
        {"server": "localhost:0"},
        {"server": "localhost:65536"},
        {"server": "localhost:9092\n"},
    ],
    ids=str,
)
def test_names_and_addresses_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        SiteSettings.model_validate({"name": "site-1", "server": "localhost:9092"} | wrong)
    assert first_problem(raised.value).startswith(next(iter(wrong)))


@pytest.mark.parametrize("server", ["localhost:1", "lab-7.example.org:65535", "10.0.0.1:9092", "[::1]:9092"])
def test_usual_addresses_are_taken(server: str) -> None:
    assert SiteSettings(name="a", server=server).server == server


def test_the_lock_is_the_owners_alone(site: Site) -> None:
    import os

    os.close(lock_file(site))
    assert mode(site.state / "agent.lock") == 0o600


def test_sessions_are_for_the_sites_own_user(site: Site) -> None:
    """Action units tell people apart; other users of a lab machine have no business with them."""
    assert site.sessions.stat().st_mode & 0o077 == 0
    assert site.state.stat().st_mode & 0o077 == 0
