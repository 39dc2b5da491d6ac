"""Certificates: a small authority of the server's own, and the server certificate it signs.

Leaves the machine: ``ca.crt``, which every site needs to recognise this server. Never leaves:
``ca.key`` and ``server.key``, readable by their owner only.
"""

import datetime as dt
import ipaddress
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mien_common.errors import InputError, TrustError
from mien_common.files import read_bounded, write_atomic
from mien_common.validity import ends_soon

CA_DAYS: Final = 3650
"""Sites keep ``ca.crt`` for years; only the server's own certificate is renewed yearly."""
CLOCK_SKEW: Final = dt.timedelta(minutes=5)
PEM_LIMIT_BYTES: Final = 64 * 1024
PRIVATE: Final = 0o600

log = logging.getLogger(__name__)


def default_names(hosts: Sequence[str], ips: Sequence[str]) -> tuple[list[str], list[str]]:
    """The given names and addresses with those that always hold: loopback and this machine's name."""
    names = dict.fromkeys(["localhost", socket.gethostname().rstrip(".").lower(), *hosts])
    addresses = dict.fromkeys(["127.0.0.1", "::1", *ips])
    return [name for name in names if name], list(addresses)


def make_authority(tls: Path, now: dt.datetime) -> None:
    """Write a new authority, ``ca.crt`` and ``ca.key``, into ``tls``."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Mien authority {x509.random_serial_number():x}"[:40])]
    )
    certificate = (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA384())
    )
    _write_pair(tls, "ca", certificate, key)


def issue_server_certificate(
    tls: Path, hosts: Sequence[str], ips: Sequence[str], days: int, now: dt.datetime
) -> None:
    """Write ``server.crt`` and ``server.key``, signed by the authority in ``tls``.

    Parameters
    ----------
    hosts, ips : names and addresses that agents may use; :func:`default_names` are added.
    days : how long the certificate holds, counted from ``now``.

    Raises
    ------
    TrustError
        The authority is missing or unreadable.
    """
    authority, authority_key = read_certificate(tls / "ca.crt"), _read_key(tls / "ca.key")
    key = ec.generate_private_key(ec.SECP256R1())
    names, addresses = default_names(hosts, ips)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Mien server")])
    alternatives = [x509.DNSName(name) for name in names]
    alternatives_ip = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    certificate = (
        _builder(subject, authority.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([*alternatives, *alternatives_ip]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA384())
    )
    _write_pair(tls, "server", certificate, key)


def check_certificates(tls: Path, now: dt.datetime) -> None:
    """Raise TrustError unless the server can show a certificate that sites will accept now.

    Missing, unreadable, expired, not yet valid, of another authority, or with another key: each is
    named with the file and the command that mends it.
    """
    folder = tls.parent
    renew = f"Make a new one: mien server init {folder} --renew"
    authority = read_certificate(tls / "ca.crt")
    certificate, key = read_certificate(tls / "server.crt"), _read_key(tls / "server.key")
    for file, found in (("ca.crt", authority), ("server.crt", certificate)):
        if found.not_valid_after_utc <= now:
            mend = (
                renew
                if file == "server.crt"
                else "Make a new server folder and give its ca.crt to every site."
            )
            raise TrustError(f"{tls / file} expired on {found.not_valid_after_utc:%Y-%m-%d}. {mend}")
        if found.not_valid_before_utc > now:
            raise TrustError(
                f"{tls / file} only holds from {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on. "
                "Is this machine's clock right?"
            )
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise TrustError(f"{tls / 'server.crt'} was not signed by {tls / 'ca.crt'}. {renew}") from error
    if certificate.public_key() != key.public_key():
        raise TrustError(f"{tls / 'server.key'} is not the key of {tls / 'server.crt'}. {renew}")
    warn_of_ends(tls, now)


def ending_soon(tls: Path, now: dt.datetime) -> list[tuple[Path, dt.datetime, str]]:
    """The certificates that end within thirty days: file, when, and how to mend it."""
    renew = f"mien server init {tls.parent} --renew; a server that runs takes it by itself"
    anew = (
        "make a new server folder and invite every site to it; models, releases and tls/release.* can be "
        "copied"
    )
    ends = [
        (tls / file, read_certificate(tls / file).not_valid_after_utc) for file in ("server.crt", "ca.crt")
    ]
    return [
        (file, end, renew if file.name == "server.crt" else anew) for file, end in ends if ends_soon(end, now)
    ]


def warn_of_ends(tls: Path, now: dt.datetime) -> None:
    """A line in the log for each certificate that ends within thirty days."""
    for file, end, remedy in ending_soon(tls, now):
        log.warning("event=certificate_expires_soon file=%s until=%s remedy=%r", file, end, remedy)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(
    digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pair(tls: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomic(tls / f"{name}.key", private, mode=PRIVATE)
    write_atomic(tls / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def read_certificate(file: Path) -> x509.Certificate:
    """The certificate in a PEM file.

    Raises
    ------
    TrustError
        It is missing or no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(read_bounded(file, PEM_LIMIT_BYTES))
    except (InputError, ValueError) as error:
        raise TrustError(_unusable(file, "a certificate", error)) from error


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_bounded(file, PEM_LIMIT_BYTES), password=None)
    except (InputError, ValueError, TypeError) as error:
        raise TrustError(_unusable(file, "a private key", error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TrustError(_unusable(file, "an elliptic-curve key", "it is of another kind"))
    return key


def _unusable(file: Path, what: str, reason: object) -> str:
    detail = str(reason) if isinstance(reason, InputError | str) else f"{file} is not {what} in PEM form"
    mend = (
        "Put the file back from a copy, or make a new server folder."
        if file.name.startswith("ca.")
        else f"Make a new one: mien server init {file.parent.parent} --renew"
    )
    return f"{detail}. {mend}"
