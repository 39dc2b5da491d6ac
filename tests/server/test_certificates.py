"""Certificates: sites accept them, and every way they can be wrong is named before the server starts."""

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest

from mien_common.errors import TrustError
from mien_server.certificates import check_certificates, issue_server_certificate, make_authority

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    tls = tmp_path / "server" / "tls"
    tls.mkdir(parents=True)
    make_authority(tls, NOW)
    issue_server_certificate(tls, ["lab.example.org"], ["192.0.2.7"], 30, NOW)
    return tls


def handshake(tls: Path, name: str) -> None:
    """A TLS client that trusts our authority, under the strictest rules, calls the server ``name``."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(tls / "server.crt", tls / "server.key")
    client_side = ssl.create_default_context(cafile=str(tls / "ca.crt"))
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            server_side.wrap_socket(far, server_side=True).close()
        except OSError:  # the client refused
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with near, client_side.wrap_socket(near, server_hostname=name):
            pass
    finally:
        near.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "lab.example.org", "192.0.2.7"])
def test_a_site_accepts_the_server_under_each_of_its_names(tls: Path, name: str) -> None:
    handshake(tls, name)


def test_a_site_refuses_another_name(tls: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls, "elsewhere.example.org")


def test_private_keys_are_the_owners_only(tls: Path) -> None:
    for name in ("ca.key", "server.key"):
        assert (tls / name).stat().st_mode & 0o777 == 0o600


def test_a_renewed_certificate_has_the_same_authority(tls: Path) -> None:
    authority = (tls / "ca.crt").read_bytes()

    issue_server_certificate(tls, ["new.example.org"], [], 30, NOW)

    assert (tls / "ca.crt").read_bytes() == authority
    handshake(tls, "new.example.org")


def test_good_certificates_pass(tls: Path) -> None:
    check_certificates(tls, NOW)


def test_a_certificate_that_ends_soon_is_logged(tls: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_certificates(tls, NOW + 10 * DAY)

    assert "certificate_expires_soon" in caplog.text


@pytest.mark.parametrize(
    ("when", "message"), [(NOW + 31 * DAY, "expired on.*--renew"), (NOW - DAY, "only holds from.*clock")]
)
def test_a_certificate_out_of_its_time_is_refused(tls: Path, when: dt.datetime, message: str) -> None:
    with pytest.raises(TrustError, match=message):
        check_certificates(tls, when)


@pytest.mark.parametrize("name", ["ca.crt", "server.crt", "server.key"])
@pytest.mark.parametrize("damage", ["missing", "rubbish", "folder"])
def test_a_damaged_file_is_named(tls: Path, name: str, damage: str) -> None:
    (tls / name).unlink()
    if damage == "rubbish":
        (tls / name).write_text("-----BEGIN NOTHING-----")
    elif damage == "folder":
        (tls / name).mkdir()

    with pytest.raises(TrustError, match=name):
        check_certificates(tls, NOW)


def test_the_certificate_of_another_authority_is_refused(tls: Path) -> None:
    make_authority(tls, NOW)

    with pytest.raises(TrustError, match=r"server.crt was not signed by"):
        check_certificates(tls, NOW)


def test_another_key_is_refused(tls: Path) -> None:
    certificate = (tls / "server.crt").read_bytes()
    issue_server_certificate(tls, [], [], 30, NOW)
    (tls / "server.crt").write_bytes(certificate)

    with pytest.raises(TrustError, match=r"server.key is not the key of"):
        check_certificates(tls, NOW)
