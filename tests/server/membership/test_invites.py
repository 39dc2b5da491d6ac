"""Invitations at the server: one use, one key, one name, one hour; nothing half done."""

import datetime as dt
import multiprocessing
import stat
from pathlib import Path

import pytest

from mien_common.enrolment_messages import EnrolRequest, RotateRequest
from mien_common.errors import EnrolmentRefusedError, MienError, SettingsError, TrustError
from mien_common.files import write_atomic
from mien_common.invitation import Invitation, new_secret, secret_digest
from mien_common.site_keys import new_key, public_openssh, sign
from mien_server.certificates import issue_server_certificate
from mien_server.folder import ServerFolder
from mien_server.membership import roll as roll_module
from mien_server.membership.enrolment import enrol_key, read_sites, revoke, rotate
from mien_server.membership.invites import invite, redeem, usual_host
from mien_server.membership.roll import read_roll

HOUR = dt.timedelta(hours=1)
NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(minutes=20)


def request(
    secret: bytes, key: object = None, name: str | None = None, signed_for: bytes = b""
) -> EnrolRequest:
    private = key or new_key()
    public = public_openssh(private.public_key())  # type: ignore[attr-defined]
    statement = EnrolRequest.statement(signed_for or secret, public)
    signature = sign(private, statement)  # type: ignore[arg-type]
    return EnrolRequest(secret=secret.hex(), public_key=public, name=name, signature=signature)


def rotation(old: object, new: object, signer: object = None) -> RotateRequest:
    public = [public_openssh(key.public_key()) for key in (old, new)]  # type: ignore[attr-defined]
    statement = RotateRequest.statement(*public)
    return RotateRequest(
        old_key=public[0],
        new_key=public[1],
        old_signature=sign(signer or old, statement),  # type: ignore[arg-type]
        new_signature=sign(new, statement),  # type: ignore[arg-type]
    )


@pytest.fixture
def invitation(folder: ServerFolder) -> Invitation:
    return invite(folder, "lab-2", "127.0.0.1", HOUR, NOW)


def test_an_invited_site_is_enrolled_under_its_name(folder: ServerFolder, invitation: Invitation) -> None:
    asked = request(invitation.secret)
    site = redeem(folder, asked, LATER)
    assert site is not None
    assert [(kept.name, kept.public_key) for kept in read_sites(folder)] == [("lab-2", asked.public_key)]
    assert site.key_since == LATER


def test_the_secret_is_kept_nowhere(folder: ServerFolder, invitation: Invitation) -> None:
    redeem(folder, request(invitation.secret), LATER)
    spellings = (invitation.secret, invitation.secret.hex().encode(), invitation.code().encode()[-40:])
    for file in (path for path in folder.path.rglob("*") if path.is_file()):
        assert not any(spelling in file.read_bytes() for spelling in spellings), file
    assert secret_digest(invitation.secret) in folder.sites_file.read_text()
    assert stat.S_IMODE(folder.sites_file.stat().st_mode) == 0o600


def test_the_same_key_may_ask_again_and_no_other(folder: ServerFolder, invitation: Invitation) -> None:
    """The first answer may have been lost on its way."""
    key = new_key()
    first = redeem(folder, request(invitation.secret, key), LATER)
    assert redeem(folder, request(invitation.secret, key), LATER) == first
    assert redeem(folder, request(invitation.secret), LATER) is None
    assert redeem(folder, request(invitation.secret, key), NOW + HOUR) is None, "its life is over"
    assert len(read_sites(folder)) == 1


@pytest.mark.parametrize("crash_at", ["before", "after"])
def test_a_crash_leaves_all_or_nothing(
    folder: ServerFolder, invitation: Invitation, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    """ "Used" and "enrolled" are one write: a process that dies around it has done both or neither."""
    write, key = write_atomic, new_key()

    def dying(*arguments: object, **options: object) -> None:
        if crash_at == "after":
            write(*arguments, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(roll_module, "write_atomic", dying)
    with pytest.raises(KeyboardInterrupt):
        redeem(folder, request(invitation.secret, key), LATER)
    monkeypatch.setattr(roll_module, "write_atomic", write)

    (kept,) = read_roll(folder).invites
    assert (kept.used_by is not None) == (len(read_sites(folder)) == 1) == (crash_at == "after")
    assert redeem(folder, request(invitation.secret, key), LATER) is not None
    assert redeem(folder, request(invitation.secret), LATER) is None


def test_expired_early_and_unknown_codes_are_refused_alike(
    folder: ServerFolder, invitation: Invitation
) -> None:
    assert redeem(folder, request(invitation.secret), NOW + HOUR) is None
    assert redeem(folder, request(new_secret()), LATER) is None
    assert redeem(folder, request(invitation.secret), NOW - HOUR) is None, "the clock was put back"
    assert read_sites(folder) == ()
    assert redeem(folder, request(invitation.secret), NOW - dt.timedelta(minutes=2)) is not None


def test_a_stolen_signature_does_not_help(folder: ServerFolder, invitation: Invitation) -> None:
    """Nobody enrols a key he does not hold, or with a signature made for another code."""
    good = request(invitation.secret)
    for forged in (
        good.model_copy(update={"public_key": public_openssh(new_key().public_key())}),
        request(invitation.secret, signed_for=new_secret()),
    ):
        assert redeem(folder, forged, LATER) is None
    assert read_sites(folder) == ()


def test_a_withdrawn_code_is_refused(folder: ServerFolder, invitation: Invitation) -> None:
    assert revoke(folder, "lab-2", LATER) == (None, 1)
    assert redeem(folder, request(invitation.secret), LATER) is None


def test_a_newer_code_withdraws_the_one_before(folder: ServerFolder, invitation: Invitation) -> None:
    newer = invite(folder, "lab-2", "127.0.0.1", HOUR, LATER)
    assert redeem(folder, request(invitation.secret), LATER) is None
    assert redeem(folder, request(newer.secret), LATER) is not None


def test_a_site_enrolled_by_hand_withdraws_its_code(folder: ServerFolder, invitation: Invitation) -> None:
    enrol_key(folder, public_openssh(new_key().public_key()), "lab-2", LATER, "site.pub")
    assert redeem(folder, request(invitation.secret), LATER) is None


def test_a_code_is_for_one_name(folder: ServerFolder, invitation: Invitation) -> None:
    with pytest.raises(
        EnrolmentRefusedError, match="for a site named 'lab-2', and this one calls itself 'lab-9'"
    ):
        redeem(folder, request(invitation.secret, name="lab-9"), LATER)
    assert redeem(folder, request(invitation.secret, name="lab-2"), LATER) is not None, "it stays open"


def test_a_key_that_another_site_has_is_not_taken(folder: ServerFolder, invitation: Invitation) -> None:
    key = new_key()
    enrol_key(folder, public_openssh(key.public_key()), "lab-1", NOW, "site.pub")
    with pytest.raises(TrustError, match="enrolled already, as 'lab-1'"):
        redeem(folder, request(invitation.secret, key), LATER)


def test_a_revoked_key_never_comes_back(folder: ServerFolder, invitation: Invitation) -> None:
    key = new_key()
    redeem(folder, request(invitation.secret, key), LATER)
    site, _ = revoke(folder, "lab-2", LATER)
    assert site is not None
    assert read_sites(folder) == ()
    assert redeem(folder, request(invitation.secret, key), LATER) is None, "by its old code"
    newer = invite(folder, "lab-2", "127.0.0.1", HOUR, LATER)
    with pytest.raises(TrustError, match="was revoked on 2026-11-23"):
        redeem(folder, request(newer.secret, key), LATER)
    assert redeem(folder, request(newer.secret), LATER) is not None
    assert [(site.name, site.revoked is None) for site in read_roll(folder).sites] == [
        ("lab-2", False),
        ("lab-2", True),
    ]


@pytest.mark.parametrize("name", ["", "../lab", "lab/2", "Lab", "lab 2", "a" * 33, "lab\n", ".", "lab\x00"])
def test_path_tricks_and_odd_names_get_no_code(folder: ServerFolder, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a site's name"):
        invite(folder, name, "127.0.0.1", HOUR, NOW)


def test_a_host_that_the_certificate_lacks_gets_no_code(folder: ServerFolder) -> None:
    with pytest.raises(SettingsError, match=r"--renew --host mien\.example\.org"):
        invite(folder, "lab-2", "mien.example.org", HOUR, NOW)
    with pytest.raises(SettingsError, match=r"--renew --ip 192\.0\.2\.7"):
        invite(folder, "lab-2", "192.0.2.7", HOUR, NOW)
    issue_server_certificate(folder.tls, ["*.example.org"], ["192.0.2.7"], 30, dt.datetime.now(dt.UTC))
    for host in ("mien.example.org", "192.0.2.7", usual_host(folder)):
        assert invite(folder, "lab-2", host, HOUR, NOW).host == host


def test_a_name_that_is_enrolled_gets_no_code(folder: ServerFolder, invitation: Invitation) -> None:
    redeem(folder, request(invitation.secret), LATER)
    with pytest.raises(SettingsError, match="is enrolled already"):
        invite(folder, "lab-2", "127.0.0.1", HOUR, LATER)


def _race(arguments: tuple[ServerFolder, bytes]) -> bool:
    folder, secret = arguments
    return redeem(folder, request(secret), LATER) is not None


def test_of_many_that_race_with_one_code_one_wins(folder: ServerFolder, invitation: Invitation) -> None:
    """In processes of their own, as the door and a command are."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        won = pool.map(_race, [(folder, invitation.secret)] * 12, chunksize=1)
    assert sum(won) == 1
    assert len(read_sites(folder)) == 1


class TestRotation:
    """The old key signs for the new one."""

    def test_the_new_key_takes_the_old_ones_place(self, folder: ServerFolder) -> None:
        old, new = new_key(), new_key()
        enrol_key(folder, public_openssh(old.public_key()), "lab-1", NOW, "site.pub")
        asked = rotation(old, new)
        site = rotate(folder, asked, LATER)
        assert site is not None
        assert [kept.public_key for kept in read_sites(folder)] == [public_openssh(new.public_key())]
        assert read_roll(folder).refused_keys == (public_openssh(old.public_key()),)
        assert rotate(folder, asked, LATER) == site, "asked again, since the answer may have been lost"
        with pytest.raises(TrustError, match="former key of 'lab-1'"):
            enrol_key(folder, public_openssh(old.public_key()), "lab-7", LATER, "site.pub")

    def test_an_old_rotation_cannot_be_replayed(self, folder: ServerFolder) -> None:
        first, second, third = new_key(), new_key(), new_key()
        enrol_key(folder, public_openssh(first.public_key()), "lab-1", NOW, "site.pub")
        old = rotation(first, second)
        assert rotate(folder, old, LATER) is not None
        assert rotate(folder, rotation(second, third), LATER + HOUR) is not None
        assert rotate(folder, old, LATER + HOUR) is None
        assert rotate(folder, rotation(first, new_key()), LATER + HOUR) is None
        with pytest.raises(TrustError, match="known here already"):
            rotate(folder, rotation(third, first), LATER + 2 * HOUR)

    def test_a_site_that_changes_its_key_all_day_is_told_to_wait(self, folder: ServerFolder) -> None:
        keys = [new_key() for _ in range(3)]
        enrol_key(folder, public_openssh(keys[0].public_key()), "lab-1", NOW, "site.pub")
        first = rotation(keys[0], keys[1])
        assert rotate(folder, first, NOW) is not None, "at once after it was enrolled: a careful lab"
        for when in (NOW, NOW + HOUR - dt.timedelta(seconds=1)):
            with pytest.raises(EnrolmentRefusedError, match="less than an hour ago"):
                rotate(folder, rotation(keys[1], keys[2]), when)
            assert rotate(folder, first, when) is not None, "the answer to the first may have been lost"
        assert rotate(folder, rotation(keys[1], keys[2]), NOW + HOUR) is not None

    def test_forged_and_revoked_are_refused(self, folder: ServerFolder) -> None:
        key, stranger = new_key(), new_key()
        enrol_key(folder, public_openssh(key.public_key()), "lab-1", NOW, "site.pub")
        assert rotate(folder, rotation(key, new_key(), signer=stranger), LATER) is None
        assert rotate(folder, rotation(stranger, new_key()), LATER) is None
        revoke(folder, "lab-1", LATER)
        assert rotate(folder, rotation(key, new_key()), LATER) is None


def test_a_full_disk_enrols_nobody_and_keeps_the_code(
    folder: ServerFolder, invitation: Invitation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = write_atomic

    def full(path: Path, *_: object, **__: object) -> None:
        write(tmp_path / "no-such-folder" / path.name, b"")

    monkeypatch.setattr(roll_module, "write_atomic", full)
    with pytest.raises(MienError):
        redeem(folder, request(invitation.secret), LATER)
    monkeypatch.setattr(roll_module, "write_atomic", write)
    assert read_sites(folder) == ()
    assert redeem(folder, request(invitation.secret), LATER) is not None
