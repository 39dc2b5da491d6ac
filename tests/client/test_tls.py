"""What the agent says of a server's certificate, asked of real TLS servers on the loopback."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mien_client.tls import ServerUnreachableError, check_server
from mien_common.errors import TrustError

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: Authority | None, starts: datetime, ends: datetime
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
    )


def make_authority(name: str = "Mien test authority") -> Authority:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = _certificate(name, key, None, now - 9 * DAY, now + 9 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Any]:
    """A TLS server on the loopback, with a certificate made for it; gives its port."""

    @contextmanager
    def run(
        issuer: Authority,
        names: tuple[str, ...] = ("127.0.0.1", "localhost"),
        starts: int = -1,
        ends: int = 1,
    ) -> Iterator[int]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        alternatives = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]
        certificate = (
            _certificate("server", key, issuer, now + starts * DAY, now + ends * DAY)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(issuer.key, hashes.SHA256())
        )
        (tmp_path / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (tmp_path / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")

        def answer(connection: socket.socket) -> None:
            with connection, context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

        with listening(answer) as port:
            yield port

    return run


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that hands its connections to ``answer``; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                try:
                    answer(connection)
                except OSError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=60)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_good_certificate_is_trusted(serve: Callable[..., Any], authority: Authority, host: str) -> None:
    with serve(authority) as port:
        check_server(f"{host}:{port}", authority.pem)


def test_an_expired_certificate(serve: Callable[..., Any], authority: Authority) -> None:
    with serve(authority, starts=-3, ends=-1) as port, pytest.raises(TrustError) as raised:
        check_server(f"127.0.0.1:{port}", authority.pem)
    assert str(raised.value).startswith(f"will not join 127.0.0.1:{port}: its certificate has expired.")
    assert "Ask the operator to renew it" in str(raised.value)


def test_a_certificate_of_tomorrow(serve: Callable[..., Any], authority: Authority) -> None:
    with serve(authority, starts=1, ends=3) as port, pytest.raises(TrustError) as raised:
        check_server(f"127.0.0.1:{port}", authority.pem)
    assert "its certificate is not valid yet. Check this machine's clock." in str(raised.value)


@pytest.mark.parametrize(
    ("host", "names"),
    [("127.0.0.1", ("10.1.2.3", "localhost")), ("localhost", ("127.0.0.1", "server.example.org"))],
)
def test_a_certificate_for_another_host(
    serve: Callable[..., Any], authority: Authority, host: str, names: tuple[str, ...]
) -> None:
    with serve(authority, names=names) as port, pytest.raises(TrustError) as raised:
        check_server(f"{host}:{port}", authority.pem)
    assert f"its certificate is for another host than {host}." in str(raised.value)
    assert "mien server init DIR --renew --host NAME" in str(raised.value)


def test_a_certificate_of_another_authority(serve: Callable[..., Any], authority: Authority) -> None:
    """Also one that calls itself by the same name."""
    for impostor in (make_authority("Somebody else"), make_authority()):
        with serve(impostor) as port, pytest.raises(TrustError) as raised:
            check_server(f"127.0.0.1:{port}", authority.pem)
        assert "its certificate is not from this site's ca.crt (" in str(raised.value)
        assert "Get the server's tls/ca.crt from its operator." in str(raised.value)


def test_the_machines_own_authorities_are_not_asked(authority: Authority) -> None:
    """Only ca.crt counts: a certificate that browsers trust must not open the door."""
    context_authorities = ssl.create_default_context(cadata=authority.pem.decode()).get_ca_certs()
    assert len(context_authorities) == 1


def test_a_server_without_tls() -> None:
    def greet(connection: socket.socket) -> None:
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            while connection.recv(1000):  # hung up on with something unread, the other side loses the answer
                pass

    with listening(greet) as port, pytest.raises(ServerUnreachableError) as raised:
        check_server(f"127.0.0.1:{port}", make_authority().pem)
    assert str(raised.value).startswith(f"127.0.0.1:{port} does not speak TLS (WRONG_VERSION_NUMBER)")


def test_a_server_that_hangs_up(authority: Authority) -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.recv(1)
        connection.close()

    with listening(hang_up) as port, pytest.raises(ServerUnreachableError):
        check_server(f"127.0.0.1:{port}", authority.pem)


def test_a_server_that_never_says_a_word(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien_client.tls.HANDSHAKE_S", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ServerUnreachableError, match="timed out"),
    ):
        check_server(f"127.0.0.1:{server.getsockname()[1]}", authority.pem)


def test_nobody_there(authority: Authority) -> None:
    with socket.socket() as taken:  # held and not listened at: nobody else can come to answer there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ServerUnreachableError) as raised:
            check_server(f"127.0.0.1:{port}", authority.pem)
    assert str(raised.value).startswith(f"no server answers at 127.0.0.1:{port}: ")
    assert "Connection refused" in str(raised.value)
    assert str(raised.value).endswith("Is `mien server up` running?")


def test_an_ipv6_address_stands_in_brackets(authority: Authority) -> None:
    with pytest.raises(ServerUnreachableError, match=r"no server answers at \[::1\]:1: .*refused|assign"):
        check_server("[::1]:1", authority.pem)
