"""Sites' keys: elliptic curves in OpenSSH's form, their fingerprints, and proofs that somebody holds one.

Enters: key files' content, texts. Leaves: checked keys, signatures. Never leaves, from here: a private key.
"""

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mien_common.errors import TrustError

KEY_LIMIT_BYTES: Final = 16 * 1024
KEY_DAYS: Final = 730
"""After this a key should be changed. None stops by its age alone: a study must not end over night."""

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A site's new key."""
    return ec.generate_private_key(ec.SECP384R1())


def private_openssh(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as ``keys/site.key`` holds it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def public_openssh(key: ec.EllipticCurvePublicKey) -> str:
    """The public key on one line, without a comment."""
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def read_public_key(content: bytes, source: str) -> ec.EllipticCurvePublicKey:
    """A site's public key; ``source`` names it in the error.

    Raises
    ------
    TrustError
        It is no public key that sites use, or a private one.
    """
    if b"PRIVATE KEY" in content:
        raise TrustError(
            f"{source} is a PRIVATE key: it must never leave its site. If it came over a network, make the "
            "site a new one. Give the public key, the file that ends in .pub."
        )
    try:
        key = serialization.load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(
            f"{source} is not an OpenSSH public key. Give the site's keys/site.pub "
            "(one line, ecdsa-sha2-...)."
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise TrustError(f"{source} is not an elliptic-curve key. Give the one that `mien agent init` made.")
    return key


def fingerprint(public_key: str) -> str:
    """The fingerprint of a key in OpenSSH's form, as ``ssh-keygen -l`` prints it."""
    blob = base64.b64decode(public_key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def sign(key: ec.EllipticCurvePrivateKey, statement: bytes) -> str:
    """A signature of ``statement``, base 64."""
    return base64.b64encode(key.sign(statement, ec.ECDSA(hashes.SHA384()))).decode()


def is_signed(key: ec.EllipticCurvePublicKey, signature: str, statement: bytes) -> bool:
    """Whether the holder of ``key`` signed ``statement``."""
    try:
        key.verify(base64.b64decode(signature, validate=True), statement, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
