"""A release as both sides see it: which files it has, the list of their hashes, the signed index of all.

Enters and leaves: text and bytes; nothing is fetched or loaded here, and no PyTorch either, since the
server's listener and ``mien agent fetch`` need it before they know whether there is anything to load.

    releases/index.json      every release, and which is the latest; signed; the only file that changes
    releases/release.pub     the key that signs
    releases/release-keys.json   where it was ever changed: the keys (:mod:`mien_common.release_keys`)
    releases/1.0.0/          never changes
        model.safetensors  model.onnx  card.json  MODEL_CARD.md
        SHA256SUMS           ``# mien release 1.0.0``, then a line per file, for ``sha256sum --check``
        SHA256SUMS.sig       Ed25519 signature of SHA256SUMS, 64 bytes
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mien_common.errors import InputError, TrustError
from mien_common.release_version import parse_version

FILE_LIMITS_BYTES: Final[Mapping[str, int]] = {
    "model.safetensors": 512 * 1024 * 1024,
    "model.onnx": 512 * 1024 * 1024,
    "card.json": 1024 * 1024,
    "MODEL_CARD.md": 1024 * 1024,
}
"""What a release holds, and the most that each file may have."""
SUMS_FILE: Final = "SHA256SUMS"
SIGNATURE_FILE: Final = "SHA256SUMS.sig"
INDEX_FILE: Final = "index.json"
KEY_FILE: Final = "release.pub"
SUMS_LIMIT_BYTES: Final = 4096
INDEX_LIMIT_BYTES: Final = 4 * 1024 * 1024
KEY_LIMIT_BYTES: Final = 4096
SIGNATURE_BYTES: Final = 64

_SUMS_HEAD: Final = "# mien release "
_INDEX_HEAD: Final = b"mien release index\n"
"""Signed with an index, so that no signature of one kind passes for one of the other."""
_SUM_LINE: Final = re.compile(r"([0-9a-f]{64})  ([A-Za-z_.]{1,32})", re.ASCII)

Version = Annotated[str, Field(max_length=64)]


class _Read(BaseModel):
    # A later server may say more than this version knows.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class IndexEntry(_Read):
    """One release, as the index tells of it."""

    version: Version
    created: Annotated[str, Field(max_length=64)]
    schema_name: Annotated[str, Field(max_length=64)]
    run: Annotated[str, Field(max_length=256)]
    round: Annotated[int, Field(ge=0)]
    sums_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of its ``SHA256SUMS``."""
    bytes: dict[str, Annotated[int, Field(ge=0)]]
    """Size of each file."""

    @field_validator("version")
    @classmethod
    def _is_a_version(cls, value: str) -> str:
        try:
            parse_version(value)
        except InputError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("bytes")
    @classmethod
    def _sizes_are_bounded(cls, value: dict[str, int]) -> dict[str, int]:
        if set(value) != set(FILE_LIMITS_BYTES):
            raise ValueError(f"a release holds {', '.join(FILE_LIMITS_BYTES)}, and nothing else")
        for name, size in value.items():
            if size > FILE_LIMITS_BYTES[name]:
                raise ValueError(f"{name} has {size} bytes, at most {FILE_LIMITS_BYTES[name]} are allowed")
        return value


class ReleaseIndex(_Read):
    """All releases of a server."""

    created: Annotated[str, Field(max_length=64)]
    latest: Version | None
    """The one that sites should have; None before the first, and while there are only trials."""
    releases: tuple[IndexEntry, ...] = Field(max_length=10_000, strict=False)
    former_keys: tuple[Annotated[str, Field(max_length=KEY_LIMIT_BYTES)], ...] = Field(
        default=(), max_length=200, strict=False
    )
    """PEM of keys that signed some of these releases before the key that signs this index."""

    def entry(self, version: str) -> IndexEntry | None:
        """What the index tells of ``version``; None where it does not know it."""
        return next((entry for entry in self.releases if entry.version == version), None)


def sums_text(version: str, hashes: Mapping[str, str]) -> bytes:
    """``SHA256SUMS`` of a release with these files."""
    lines = [f"{digest}  {name}" for name, digest in sorted(hashes.items())]
    return "\n".join([f"{_SUMS_HEAD}{version}", *lines, ""]).encode()


def parse_sums(content: bytes, version: str) -> dict[str, str]:
    """Hash by file name out of a release's ``SHA256SUMS``.

    Raises
    ------
    TrustError
        It is damaged, of another version, or lists other files than a release has.
    """
    try:
        head, *lines, end = content.decode("ascii").split("\n")
    except ValueError as error:
        raise TrustError(f"{SUMS_FILE} of release {version} is damaged. {_AGAIN}") from error
    found = [_SUM_LINE.fullmatch(line) for line in lines]
    hashes = {match[2]: match[1] for match in found if match is not None}
    if not head.startswith(_SUMS_HEAD) or end or None in found or len(hashes) != len(lines):
        raise TrustError(f"{SUMS_FILE} of release {version} is damaged. {_AGAIN}")
    if head.removeprefix(_SUMS_HEAD) != version:
        raise TrustError(
            f"what was given as release {version} is release {head.removeprefix(_SUMS_HEAD)[:64]!r}. {_AGAIN}"
        )
    if set(hashes) != set(FILE_LIMITS_BYTES):
        raise TrustError(
            f"{SUMS_FILE} of release {version} lists {', '.join(sorted(hashes)) or 'nothing'}; a release has "
            f"{', '.join(sorted(FILE_LIMITS_BYTES))}. {_AGAIN}"
        )
    return hashes


def verified_sums(
    sums: bytes, signature: bytes, version: str, key: Ed25519PublicKey, *former: Ed25519PublicKey
) -> dict[str, str]:
    """Hash by file name, once the server's signature of them holds.

    Parameters
    ----------
    former : keys that signed before ``key`` did, and were handed on to it.

    Raises
    ------
    TrustError
        The signature is of none of these keys, or :func:`parse_sums` finds something wrong.
    """
    if not any(_holds(each, signature, sums) for each in (key, *former)):
        raise TrustError(
            f"the signature of release {version} is not by the key this site trusts "
            f"({fingerprint(key)}). {_AGAIN}"
        )
    return parse_sums(sums, version)


def signed_index(index: ReleaseIndex, key: Ed25519PrivateKey) -> bytes:
    """``index.json``: the index and its signature."""
    document = index.model_dump(mode="json")
    signature = base64.b64encode(key.sign(_signed_bytes(document))).decode()
    return json.dumps({"index": document, "signature": signature}, indent=1).encode() + b"\n"


def verified_index(content: bytes, key: Ed25519PublicKey) -> ReleaseIndex:
    """The index, once the server's signature of it holds.

    Raises
    ------
    TrustError
        It is damaged, or not signed by this key.
    """
    try:
        document = json.loads(content)
        signature = base64.b64decode(document["signature"], validate=True)
        signed = _signed_bytes(document["index"])
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise TrustError(f"the {INDEX_FILE} of the releases is damaged. {_AGAIN}") from error
    try:
        key.verify(signature, signed)
    except InvalidSignature as error:
        raise TrustError(
            f"the signature of the releases' {INDEX_FILE} is not by the key this site trusts "
            f"({fingerprint(key)}). {_AGAIN}"
        ) from error
    try:
        return ReleaseIndex.model_validate(document["index"])
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise TrustError(
            f"the {INDEX_FILE} of the releases is not one this version understands "
            f"({'.'.join(map(str, problem['loc']))}: {problem['msg']}). Is Mien as new here as on the server?"
        ) from error


def read_public_key(content: bytes, source: object) -> Ed25519PublicKey:
    """The key in a ``release.pub``.

    Raises
    ------
    TrustError
        It is none.
    """
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(
            f"{source} is not a release key. Give the server's tls/{KEY_FILE}, from its operator."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise TrustError(
            f"{source} is a key of another kind. Give the server's tls/{KEY_FILE}, from its operator."
        )
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """``release.pub``: PEM, as OpenSSL reads it."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """What two people can compare over the telephone: the start of the key's SHA-256."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    digest = hashlib.sha256(raw).hexdigest()[:32]
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def _holds(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _signed_bytes(document: Any) -> bytes:
    """One form for one index, whatever white space and order it came with."""
    if not isinstance(document, dict):
        raise TypeError("an index is an object")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _INDEX_HEAD + text.encode("ascii")


_AGAIN: Final = "Nothing was changed here; fetch again later, and tell the server's operator if it stays so."
