"""Who is there: what an operator is told when sites, the SuperLink or the whole server come and go."""

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import URL, Engine

from mien_server.folder import ServerFolder
from mien_server.history.presence import GRACE, Presence
from mien_server.history.reader import History
from mien_server.history.revisions import prepare
from mien_server.membership.roll import Invite, Roll, Site

from .made_history import MadeNode

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
A, B = (
    Site(name=f"lab-{n}", public_key=f"ecdsa-sha2-nistp384 key{n}", fingerprint=f"SHA256:{n}") for n in "12"
)
ROLL = Roll(sites=(A, B))


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites here have names of keys instead of keys."""
    monkeypatch.setattr("mien_server.history.presence.public_key_pem", _key)


def _key(site: Site) -> bytes:
    return site.public_key.encode()


@pytest.fixture
def presence(engine: Engine, url: URL, folder: ServerFolder, key: None) -> Presence:
    prepare(engine, url, folder, NOW)
    return Presence(engine, NOW)


def node(site: Site, at: dt.datetime, online: bool = True, late: bool = False, seen: bool = True) -> MadeNode:
    return MadeNode(_key(site), online, late, at if seen else None)


def told(history: History) -> list[tuple[str, str | None]]:
    return [(found.kind, found.site) for found in history.events(after=0)]


def presences(history: History) -> dict[str, str]:
    return {site.name: site.presence for site in history.sites()}


def test_a_site_joins_is_late_and_leaves(presence: Presence, history: History) -> None:
    presence.take(ROLL, [node(A, NOW, online=False, seen=False), node(B, NOW)], NOW)
    assert presences(history) == {"lab-1": "never seen", "lab-2": "online"}
    presence.take(ROLL, [node(A, after(2)), node(B, NOW, late=True)], after(11))
    assert presences(history) == {"lab-1": "online", "lab-2": "late"}
    presence.take(ROLL, [node(A, after(12)), node(B, NOW, online=False)], after(70))
    presence.take(ROLL, [node(A, after(12)), node(B, NOW, online=False)], after(72))
    assert presences(history) == {"lab-1": "online", "lab-2": "offline"}
    assert told(history) == [
        *(("joined", "lab-2"), ("joined", "lab-1"), ("late", "lab-2"), ("left", "lab-2")),
    ]
    assert history.events()[0].text == "lab-2 is offline; last seen at 12:00:00 UTC"
    assert history.sites()[0].last_seen == "2026-11-23T12:00:12.000+00:00"


def test_a_silent_site_was_seen_last_when_it_was_heard_and_not_when_it_was_given_up(
    presence: Presence, history: History
) -> None:
    """Flower keeps one moment of a site that is offline: for a silent one 20 s after its last heartbeat."""
    presence.take(ROLL, [node(A, after(100)), node(B, after(101))], after(102))
    presence.take(ROLL, [node(A, after(100), late=True), node(B, after(105), online=False)], after(112))
    for seconds in (121, 123, 3600):
        gone = [node(A, after(120), online=False), node(B, after(105), online=False)]
        presence.take(ROLL, gone, after(seconds))
        first, second = history.sites()
        assert first.last_seen == "2026-11-23T12:01:40.000+00:00"
        assert second.last_seen == "2026-11-23T12:01:45.000+00:00", "it left in order"
    presence.take(ROLL, [node(A, after(4000)), node(B, after(105), online=False)], after(4001))
    presence.take(ROLL, [node(A, after(4002), online=False), node(B, after(105), online=False)], after(4003))
    assert history.sites()[0].last_seen == "2026-11-23T13:06:42.000+00:00"


def test_a_site_that_was_late_and_is_back_did_not_leave(presence: Presence, history: History) -> None:
    for seconds, late in ((0, False), (70, True), (72, True), (74, False)):
        presence.take(ROLL, [node(A, after(seconds), late=late)], after(seconds))
    assert told(history) == [("joined", "lab-1"), ("late", "lab-1")]


def test_a_superlink_that_is_started_again_makes_nobody_leave(presence: Presence, history: History) -> None:
    there = [node(A, NOW), node(B, NOW)]
    presence.take(ROLL, there, NOW)
    for seconds in range(100, 140, 2):
        presence.take(ROLL, None, after(seconds))
    assert presences(history) == {"lab-1": "online", "lab-2": "online"}

    back = after(140)  # it remembers them, and has heard nothing of them yet
    presence.take(ROLL, [replace(each, online=False) for each in there], back)
    presence.take(ROLL, [node(A, after(145)), replace(there[1], online=False)], after(146))
    assert told(history) == [("joined", "lab-1"), ("joined", "lab-2")]

    gone = after(138) + GRACE
    presence.take(ROLL, [node(A, gone), replace(there[1], online=False)], gone)
    assert told(history)[2:] == [("left", "lab-2")]


def test_one_that_dies_soon_after_it_came_back_has_left(presence: Presence, history: History) -> None:
    presence.take(ROLL, [node(A, NOW), node(B, NOW)], NOW)
    presence.take(ROLL, None, after(2))
    presence.take(ROLL, [node(A, after(3)), node(B, NOW)], after(4))
    for seconds in (25, 27):
        presence.take(ROLL, [node(A, after(3), online=False), node(B, NOW, online=False)], after(seconds))
    assert told(history)[2:] == [("left", "lab-1")], "of lab-2 nothing was heard yet"


def test_a_recorder_that_is_started_again_makes_nobody_join_or_leave(
    presence: Presence, engine: Engine, history: History
) -> None:
    presence.take(ROLL, [node(A, NOW), node(B, NOW)], NOW)
    again = Presence(engine, after(5))
    again.take(ROLL, None, after(5))
    again.take(ROLL, [node(A, after(6)), node(B, NOW, online=False)], after(7))
    assert told(history) == [("joined", "lab-1"), ("joined", "lab-2")]


def test_after_a_night_without_a_server_sites_join_again(
    presence: Presence, engine: Engine, history: History
) -> None:
    presence.take(ROLL, [node(A, NOW), node(B, NOW)], NOW)
    morning = NOW + dt.timedelta(hours=9)
    again = Presence(engine, morning)
    assert presences(history) == {"lab-1": "offline", "lab-2": "offline"}
    again.take(ROLL, [node(A, morning)], morning)
    assert told(history)[2:] == [("joined", "lab-1")]


def test_the_roll_says_who_is_invited_and_revoked(presence: Presence, history: History) -> None:
    invite = Invite(name="lab-3", secret_digest="x", created=NOW, expires=after(3600))
    presence.take(Roll(sites=(A, B), invites=(invite,)), [node(A, NOW), node(B, NOW)], NOW)
    assert presences(history) == {"lab-1": "online", "lab-2": "online", "lab-3": "invited"}

    revoked = B.model_copy(update={"revoked": after(5)})
    presence.take(Roll(sites=(A, revoked), invites=(invite,)), [node(A, after(6))], after(6))
    assert presences(history)["lab-2"] == "revoked"

    used = invite.model_copy(update={"used_by": "key3"})
    new = Site(name="lab-3", public_key="key3", fingerprint="SHA256:3")
    presence.take(Roll(sites=(A, revoked, new), invites=(used,)), [node(A, after(8))], after(8))
    assert presences(history) == {"lab-1": "online", "lab-2": "revoked", "lab-3": "never seen"}
    assert told(history) == [("joined", "lab-1"), ("joined", "lab-2")]


def test_an_invitation_that_ends_leaves_no_site(presence: Presence, history: History) -> None:
    invite = Invite(name="lab-3", secret_digest="x", created=NOW, expires=after(3600))
    presence.take(Roll(invites=(invite,)), [], NOW)
    presence.take(Roll(invites=(invite,)), [], after(3601))
    assert presences(history) == {}


def test_a_revoked_site_that_is_invited_again_comes_back(presence: Presence, history: History) -> None:
    revoked = A.model_copy(update={"revoked": NOW})
    invite = Invite(name="lab-1", secret_digest="x", created=NOW, expires=after(3600))
    presence.take(Roll(sites=(revoked,)), [], NOW)
    presence.take(Roll(sites=(revoked,), invites=(invite,)), [], after(2))
    assert presences(history) == {"lab-1": "invited"}
    new = A.model_copy(update={"public_key": "another"})
    presence.take(Roll(sites=(revoked, new)), [node(new, after(4))], after(4))
    assert presences(history) == {"lab-1": "online"}


def test_sites_of_a_roll_that_was_lost_stay_known(presence: Presence, history: History) -> None:
    presence.take(ROLL, [node(A, NOW), node(B, NOW)], NOW)
    presence.take(Roll(), [], after(100))
    assert presences(history) == {"lab-1": "offline", "lab-2": "offline"}


def test_how_far_behind_the_history_is_is_known(presence: Presence, history: History) -> None:
    presence.take(ROLL, None, after(7))
    assert history.seen() == after(7)
