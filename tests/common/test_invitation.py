"""Invitation codes: what is written is read again, and whoever mistypes one is told so."""

import base64
import binascii
import datetime as dt
import hashlib
import re
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from mien_common.errors import InputError
from mien_common.invitation import (
    FINGERPRINT_BYTES,
    SECRET_BYTES,
    Invitation,
    authority_digest,
    authority_fingerprint,
    new_secret,
    read_code,
    secret_digest,
)
from mien_server.certificates import make_authority

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
INVITATIONS = st.builds(
    Invitation,
    host=HOSTS,
    port=st.integers(1, 65535),
    fingerprint=st.binary(min_size=FINGERPRINT_BYTES, max_size=FINGERPRINT_BYTES),
    secret=st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES),
)
EXAMPLE = Invitation("mien.example.org", 9094, bytes(range(16)), bytes(range(100, 116)))


@given(INVITATIONS)
def test_what_is_written_is_read_again(invitation: Invitation) -> None:
    code = invitation.code()
    assert code.isascii()
    assert code.isprintable()
    assert read_code(code) == invitation


@given(INVITATIONS, st.randoms(use_true_random=False))
def test_however_it_is_spoken_or_grouped(invitation: Invitation, random: Random) -> None:
    address, _, rest = invitation.code().rpartition("/")
    spoken = rest.replace("-", random.choice(["", " ", "-"])).lower()
    spoken = spoken.replace("0", random.choice("0oO")).replace("1", random.choice("1iIlL"))
    assert read_code(f"  {address.upper()}/{spoken}\n") == invitation


@given(INVITATIONS, st.data())
def test_one_wrong_character_is_always_found(invitation: Invitation, data: st.DataObject) -> None:
    """The guarantee of a cyclic check: bursts of up to 16 bits, of which a character has at most 8."""
    code = invitation.code()
    place = data.draw(st.sampled_from([i for i, letter in enumerate(code) if letter.isalnum()]))
    wrong = data.draw(st.sampled_from(LETTERS).filter(lambda letter: letter != code[place].upper()))
    with pytest.raises(InputError):
        read_code(code[:place] + wrong + code[place + 1 :])


@given(INVITATIONS, st.data())
def test_two_swapped_neighbours_are_always_found(invitation: Invitation, data: st.DataObject) -> None:
    address, _, rest = invitation.code().rpartition("/")
    rest = rest.replace("-", "")
    places = [i for i in range(len(rest) - 1) if rest[i] != rest[i + 1]]
    place = data.draw(st.sampled_from(places)) if places else 0
    swapped = rest[:place] + rest[place + 1] + rest[place] + rest[place + 2 :]
    if swapped != rest:
        with pytest.raises(InputError, match="typing error"):
            read_code(f"{address}/{swapped}")


@given(st.text(max_size=600))
def test_rubbish_is_no_code(text: str) -> None:
    with pytest.raises(InputError):
        read_code(text)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "not an invitation code"),
        ("mien.example.org:9092", "not an invitation code"),
        (EXAMPLE.code()[:-1], "not copied whole"),
        (EXAMPLE.code() + "7", "not copied whole"),
        (EXAMPLE.code().replace("9094", "9095"), "typing error"),
        (EXAMPLE.code().replace("mien", "rnien"), "typing error"),
        (EXAMPLE.code().replace("9094", "99094"), "not an invitation code"),
        (EXAMPLE.code()[:-1] + "U", "letter U"),
        ("../../etc/passwd:1/" + "0" * 56, "not an invitation code"),
        ("a\x00b:1/" + "0" * 56, "not an invitation code"),
    ],
)
def test_what_is_wrong_is_said(code: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_code(code)


def test_another_version_is_named_as_such() -> None:
    payload = bytes([2]) + EXAMPLE.secret + EXAMPLE.fingerprint
    payload += binascii.crc_hqx(payload, _crc(EXAMPLE.address)).to_bytes(2, "big")
    text = (
        base64.b32encode(payload)
        .decode()
        .translate(str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", LETTERS))
    )
    with pytest.raises(InputError, match="another version"):
        read_code(f"{EXAMPLE.address}/{text}")


def _crc(text: str) -> int:
    """CRC-16/CCITT-FALSE, bit by bit, after its definition: x^16 + x^12 + x^5 + 1, beginning at 0xFFFF."""
    register = 0xFFFF
    for byte in text.encode():
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1) ^ (0x1021 if register & 0x8000 else 0)
            register &= 0xFFFF
    return register


def test_secrets_are_long_and_differ_and_hide() -> None:
    secrets = {new_secret() for _ in range(64)}
    assert len(secrets) == 64
    assert all(len(secret) * 8 >= 128 for secret in secrets)
    assert EXAMPLE.secret.hex() not in repr(EXAMPLE)
    assert repr(EXAMPLE.secret) not in repr(EXAMPLE)
    assert re.fullmatch("[0-9a-f]{64}", secret_digest(EXAMPLE.secret))
    assert secret_digest(EXAMPLE.secret) != hashlib.sha256(EXAMPLE.secret).hexdigest()


def test_an_authority_is_one_certificate(tmp_path: Path) -> None:
    """Two in one file would both be trusted, and only the first be looked at."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_authority(tmp_path / name, dt.datetime.now(dt.UTC))
    one, other = ((tmp_path / name / "ca.crt").read_bytes() for name in ("a", "b"))

    der = x509.load_pem_x509_certificate(one)
    assert authority_digest(one) == der.fingerprint(hashes.SHA256())
    assert authority_fingerprint(one).replace(":", "").lower() == authority_digest(one).hex()
    for bad in (one + other, other + one, b"", b"rubbish"):
        with pytest.raises(InputError):
            authority_digest(bad)
