"""Versions, hashes and the index of releases: what holds, and every way in which it does not."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mien_common.errors import InputError, TrustError
from mien_common.release import (
    FILE_LIMITS_BYTES,
    IndexEntry,
    ReleaseIndex,
    parse_sums,
    public_pem,
    read_public_key,
    signed_index,
    sums_text,
    verified_index,
    verified_sums,
)
from mien_common.release_version import ReleaseVersion, parse_version

KEY = Ed25519PrivateKey.generate()
HASHES = {name: hashlib.sha256(name.encode()).hexdigest() for name in FILE_LIMITS_BYTES}


def index(**changes: Any) -> ReleaseIndex:
    entry: dict[str, Any] = {
        "version": "1.0.0",
        "created": "2026-11-23T10:00:00+00:00",
        "schema_name": "au-v1",
        "run": "2026-11-23-001",
        "round": 3,
        "sums_sha256": "0" * 64,
        "bytes": dict.fromkeys(FILE_LIMITS_BYTES, 100),
    }
    return ReleaseIndex(
        created="2026-11-23T10:00:00+00:00", latest="1.0.0", releases=(IndexEntry(**entry, **changes),)
    )


def test_versions_are_ordered_as_semver_says() -> None:
    """The examples of semver.org, 2.0.0, item 11."""
    before = ("alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1")
    rising = [*(f"1.0.0-{word}" for word in before), "1.0.0", "2.0.0", "2.1.0", "2.1.1", "10.0.0"]
    assert [str(version) for version in sorted(map(parse_version, reversed(rising)))] == rising


@given(
    st.from_regex(
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(-[a-z0-9-]{1,5}(\.[a-z0-9-]{1,5}){0,2})?", fullmatch=True
    )
)
def test_a_version_says_what_was_parsed_or_is_refused(text: str) -> None:
    try:
        version = parse_version(text)
    except InputError:
        # A leading zero: two spellings of one version would be two folders.
        assert any(
            len(part) > 1 and part[0] == "0" and part.isdigit()
            for part in text.replace("-", ".", 1).split(".")
        )
    else:
        assert str(version) == text


@given(st.text(st.sampled_from("0123456789.-+/\\a\0 \n~%２"), max_size=20))
def test_nothing_but_a_version_is_one(text: str) -> None:
    try:
        found = str(parse_version(text))
    except InputError:
        return
    assert found == text
    assert not set(text) - set("0123456789.-a")
    assert ".." not in text


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0+build", "../1.0.0", "1.0.0/..", "1.0.0\n", "1.0.0-",
     "1.0.0-a..b", "latest", ".", "..", "1.0.0-01", "1" * 10 + ".0.0", "1.0.0-" + "a" * 60, "１.0.0"],
)  # fmt: skip
def test_a_version_that_cannot_be_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match="three numbers with dots"):
        parse_version(text)


def test_the_next_version_follows_the_highest() -> None:
    assert str(ReleaseVersion(1, 4, 2).next_minor()) == "1.5.0"


class TestSums:
    def test_what_is_written_is_read(self) -> None:
        assert parse_sums(sums_text("1.0.0", HASHES), "1.0.0") == HASHES

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda text: text.replace("1.0.0", "1.1.0"), "is release '1.1.0'"),
            (lambda text: text.replace("# mien", "# other"), "damaged"),
            (lambda text: text.replace("model.onnx", "../../evil"), "damaged"),
            (lambda text: text.replace("model.onnx", "/etc/passwd"), "damaged"),
            (lambda text: text.replace("model.onnx", "authorized_keys"), "lists"),
            (lambda text: text + text.splitlines()[-1] + "\n", "damaged"),
            (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "lists"),
            (lambda text: text.rstrip("\n"), "damaged"),
            (lambda text: text.replace("\n", "\r\n"), "damaged"),
            (lambda text: text.replace("  ", " *"), "damaged"),
            (lambda text: text + "ä\n", "damaged"),
            (lambda _: "", "damaged"),
        ],
    )
    def test_what_is_not_a_list_of_this_release_is_refused(self, spoil: Any, words: str) -> None:
        spoilt = spoil(sums_text("1.0.0", HASHES).decode()).encode()
        with pytest.raises(TrustError, match=words) as refused:
            verified_sums(spoilt, KEY.sign(spoilt), "1.0.0", KEY.public_key())
        assert "Nothing was changed" in str(refused.value)

    def test_the_signature_must_be_of_this_key_and_these_bytes(self) -> None:
        sums = sums_text("1.0.0", HASHES)
        assert verified_sums(sums, KEY.sign(sums), "1.0.0", KEY.public_key()) == HASHES
        other = Ed25519PrivateKey.generate()
        for signature in (other.sign(sums), KEY.sign(sums + b" "), b"", b"x" * 64):
            with pytest.raises(TrustError, match=r"not by the key this site trusts \([0-9a-f ]{39}\)"):
                verified_sums(sums, signature, "1.0.0", KEY.public_key())


class TestIndex:
    def test_what_is_signed_is_read(self) -> None:
        assert verified_index(signed_index(index(), KEY), KEY.public_key()) == index()
        assert index().entry("1.0.0") is not None
        assert index().entry("2.0.0") is None

    def test_what_a_later_server_adds_is_passed_over(self) -> None:
        document = index().model_dump(mode="json")
        document["news"] = document["releases"][0]["news"] = "more"
        assert verified_index(self.signed(document), KEY.public_key()) == index()

    @pytest.mark.parametrize(
        "content",
        [b"", b"[]", b"{}", b'"x"', b"\xff", b'{"index": {}, "signature": "!"}',
         b'{"index": {}, "signature": 3}', b'{"index": [], "signature": ""}',
         b'{"index": {"x": NaN}, "signature": ""}', b"[" * 100_000],
    )  # fmt: skip
    def test_what_is_no_index_is_refused(self, content: bytes) -> None:
        with pytest.raises(TrustError, match="damaged"):
            verified_index(content, KEY.public_key())

    def test_a_changed_index_is_refused(self) -> None:
        content = json.loads(signed_index(index(), KEY))
        content["index"]["latest"] = "0.9.0"
        with pytest.raises(TrustError, match="not by the key"):
            verified_index(json.dumps(content).encode(), KEY.public_key())

    def test_no_bit_of_it_can_be_changed_to_any_effect(self) -> None:
        """Refused, or without meaning: white space, and the bits that Base64 leaves over."""
        content, whole, refused = signed_index(index(), KEY), index(), 0
        for place in range(len(content)):
            for bit in range(8):
                changed = content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
                try:
                    assert verified_index(changed, KEY.public_key()) == whole
                except TrustError:
                    refused += 1
        assert refused > 0.95 * 8 * len(content)

    def test_a_signature_of_sums_is_none_of_an_index(self) -> None:
        """Whoever can have one thing signed gains nothing for the other."""
        document = index().model_dump(mode="json")
        text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        content = {"index": document, "signature": base64.b64encode(KEY.sign(text)).decode()}
        with pytest.raises(TrustError, match="not by the key"):
            verified_index(json.dumps(content).encode(), KEY.public_key())

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": "../../etc"},
            {"bytes": {"model.safetensors": 10}},
            {"bytes": {**dict.fromkeys(FILE_LIMITS_BYTES, 1), "more": 1}},
            {"bytes": {**dict.fromkeys(FILE_LIMITS_BYTES, 1), "card.json": 2**40}},
            {"bytes": {**dict.fromkeys(FILE_LIMITS_BYTES, 1), "card.json": -1}},
            {"round": "3"},
            {"sums_sha256": "x"},
        ],
    )
    def test_an_index_that_asks_for_too_much_is_refused_though_signed(self, changes: dict[str, Any]) -> None:
        document = index().model_dump(mode="json")
        document["releases"][0].update(changes)
        with pytest.raises(TrustError, match="not one this version understands"):
            verified_index(self.signed(document), KEY.public_key())

    @staticmethod
    def signed(document: dict[str, Any]) -> bytes:
        """As :func:`signed_index` signs, of any content; written out, so that a change of form is noticed."""
        text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        signature = KEY.sign(b"mien release index\n" + text)
        return json.dumps({"signature": base64.b64encode(signature).decode(), "index": document}).encode()


def test_a_public_key_survives_its_file_and_nothing_else_is_one(tmp_path: Path) -> None:
    assert read_public_key(public_pem(KEY.public_key()), "it") == KEY.public_key()
    with pytest.raises(TrustError, match="x is not a release key"):
        read_public_key(b"rubbish", "x")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(TrustError, match="of another kind"):
        read_public_key(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "x")
