"""The release key is handed on: who trusts an earlier one finds the newest, and nobody else's."""

import itertools
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mien_common.errors import TrustError
from mien_common.release import ReleaseIndex, public_pem, signed_index
from mien_common.release_keys import MOST_KEYS, ReleaseKeys, first_key, hand_on, successor

SINCE = "2026-11-23T10:00:00+00:00"
KEYS = [Ed25519PrivateKey.generate() for _ in range(4)]
TOO_MANY = [{"public_key": str(number), "since": "", "signature": None} for number in range(MOST_KEYS + 1)]
MALLORY = Ed25519PrivateKey.generate()


def chain(*keys: Ed25519PrivateKey) -> ReleaseKeys:
    """Each key hands on to the next."""
    known = first_key(keys[0].public_key(), SINCE)
    for old, new in itertools.pairwise(keys):
        known = hand_on(known, old, new.public_key(), SINCE)
    return known


def content(keys: ReleaseKeys) -> bytes:
    return keys.model_dump_json().encode()


@pytest.mark.parametrize("trusted", range(4))
def test_from_every_key_there_is_a_way_to_the_newest(trusted: int) -> None:
    assert successor(content(chain(*KEYS)), KEYS[trusted].public_key()) == KEYS[3].public_key()


def test_a_key_that_is_not_in_the_list_leads_nowhere() -> None:
    with pytest.raises(TrustError, match="does not have the one that this site trusts"):
        successor(content(chain(*KEYS)), MALLORY.public_key())


def signed_by(position: int, key: Ed25519PrivateKey) -> bytes:
    """The list, one link of which was signed by another key."""
    whole = json.loads(content(chain(*KEYS)))
    forged = hand_on(ReleaseKeys.model_validate({"keys": whole["keys"][:position]}), key, *_next(position))
    whole["keys"][position] = json.loads(content(forged))["keys"][-1]
    return json.dumps(whole).encode()


def _next(position: int) -> tuple[Any, str]:
    return KEYS[position].public_key(), SINCE


def test_a_link_that_the_key_before_did_not_sign_breaks_the_way() -> None:
    for position in (1, 2, 3):
        for trusted in range(position):
            with pytest.raises(TrustError, match="did not sign for it"):
                successor(signed_by(position, MALLORY), KEYS[trusted].public_key())
    # What came before the trusted key is of no concern to who trusts it.
    assert successor(signed_by(1, MALLORY), KEYS[2].public_key()) == KEYS[3].public_key()


def test_a_stranger_cannot_put_his_key_behind_ours() -> None:
    whole = json.loads(content(chain(*KEYS[:2])))
    own = json.loads(content(chain(KEYS[1], MALLORY)))["keys"][1]
    for signature in (None, "", "A" * 88, whole["keys"][1]["signature"], "no base64!"):
        forged = {"keys": [*whole["keys"], own | {"signature": signature}]}
        with pytest.raises(TrustError, match="did not sign for it"):
            successor(json.dumps(forged).encode(), KEYS[0].public_key())
    changed = json.loads(content(chain(*KEYS[:2])))
    changed["keys"][1]["since"] = "2030-01-01T00:00:00+00:00"
    with pytest.raises(TrustError, match="did not sign for it"):
        successor(json.dumps(changed).encode(), KEYS[0].public_key())


def test_a_signature_of_an_index_is_none_of_a_key() -> None:
    """Everything the key ever signed is public; none of it may pass for a link."""
    index = json.loads(signed_index(ReleaseIndex(created=SINCE, latest=None, releases=()), KEYS[0]))
    forged = json.loads(content(chain(KEYS[0], MALLORY)))
    forged["keys"][1]["signature"] = index["signature"]
    with pytest.raises(TrustError, match="did not sign for it"):
        successor(json.dumps(forged).encode(), KEYS[0].public_key())


@pytest.mark.parametrize(
    "damaged",
    [b"", b"[]", b"{}", b'{"keys": []}', b"\xff", b"[" * 50_000, b'{"keys": [{"public_key": "x"}]}',
     json.dumps({"keys": TOO_MANY}).encode()],
)  # fmt: skip
def test_rubbish_is_no_list(damaged: bytes) -> None:
    with pytest.raises(TrustError, match="is damaged"):
        successor(damaged, KEYS[0].public_key())


def test_a_list_that_goes_in_a_circle_is_refused() -> None:
    there_and_back = hand_on(chain(*KEYS[:2]), KEYS[1], KEYS[0].public_key(), SINCE)
    with pytest.raises(TrustError, match="names a key twice"):
        successor(content(there_and_back), KEYS[0].public_key())


def test_a_key_that_is_no_key_is_refused_although_it_is_signed_for() -> None:
    whole = chain(KEYS[0])
    signature = json.loads(content(hand_on(whole, KEYS[0], KEYS[1].public_key(), SINCE)))["keys"][1]
    rubbish = signature | {"public_key": public_pem(KEYS[1].public_key()).decode()[:40]}
    listed = {"keys": [*json.loads(content(whole))["keys"], rubbish]}
    with pytest.raises(TrustError):
        successor(json.dumps(listed).encode(), KEYS[0].public_key())
