"""Who is there while the history is away: a site that dies then does not stay online on the page."""

import datetime as dt
from collections.abc import Mapping

import pytest

from mien_common.errors import FederationError
from mien_common.site_keys import new_key, public_openssh
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import enrol_key, public_key_pem, read_sites, revoke
from mien_server.web.dashboard import roll_call as module
from mien_server.web.dashboard.roll_call import RollCall

from ...history.made_history import MadeNode

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


@pytest.fixture
def sites(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Two that are enrolled, and their keys; the SuperLink is asked each time."""
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    for name in ("lab-1", "lab-2"):
        enrol_key(folder, public_openssh(new_key().public_key()), name, NOW, "site.pub")
    return {site.name: public_key_pem(site) for site in read_sites(folder)}


def test_who_goes_and_who_comes(folder: ServerFolder, sites: dict[str, bytes]) -> None:
    online: dict[str, MadeNode] = {}
    roll = RollCall(folder, lambda _: {sites[name]: node for name, node in online.items()})
    for name, key in sites.items():
        online[name] = MadeNode(key, online=name == "lab-1", late=False, last_seen=None)
    online["lab-1"] = MadeNode(sites["lab-1"], online=True, late=False, last_seen=NOW)

    found = roll.sites((), NOW)
    assert [(site.name, site.presence) for site in found] == [("lab-1", "online"), ("lab-2", "never seen")]
    trained = found[0].model_copy(update={"round": 3, "frames": 750, "device": "CUDA"})

    online["lab-1"] = MadeNode(sites["lab-1"], online=True, late=True, last_seen=NOW)
    online["lab-2"] = MadeNode(sites["lab-2"], online=True, late=False, last_seen=after(9))
    found = roll.sites((trained, found[1]), after(10))
    assert [(site.presence, site.last_seen) for site in found] == [
        ("late", "2026-11-23T12:00:00.000+00:00"),
        ("online", "2026-11-23T12:00:09.000+00:00"),
    ]
    assert (found[0].round, found[0].frames, found[0].device) == (3, 750, "CUDA"), "what it did is not lost"

    # Flower says when it gave it up; it was last heard of before.
    online["lab-1"] = MadeNode(sites["lab-1"], online=False, late=False, last_seen=after(20))
    found = roll.sites(found, after(21))
    assert (found[0].presence, found[0].last_seen) == ("offline", "2026-11-23T12:00:00.000+00:00")

    revoke(folder, "lab-2", after(22))
    assert [site.presence for site in roll.sites(found, after(23))] == ["offline", "revoked"]


def test_a_superlink_that_is_away_changes_nothing(folder: ServerFolder, sites: dict[str, bytes]) -> None:
    node = MadeNode(sites["lab-1"], online=True, late=False, last_seen=NOW)
    found = RollCall(folder, lambda _: {node.public_key: node}).sites((), NOW)

    def away(_: ServerFolder) -> Mapping[bytes, MadeNode]:
        raise FederationError("no server answers")

    assert RollCall(folder, away).sites(found, after(60)) == found
    assert RollCall(folder).sites(found, after(60)) == found, "no server runs here"


def test_it_is_not_asked_for_every_listener(
    folder: ServerFolder, sites: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 600.0)
    asked: list[ServerFolder] = []

    def nodes(of: ServerFolder) -> Mapping[bytes, MadeNode]:
        asked.append(of)
        return {sites["lab-1"]: MadeNode(sites["lab-1"], online=True, late=False, last_seen=NOW)}

    roll = RollCall(folder, nodes)
    assert [roll.sites((), NOW)[0].presence for _ in range(20)] == ["online"] * 20
    assert len(asked) == 1


def test_a_damaged_roll_leaves_what_was_known(folder: ServerFolder, sites: dict[str, bytes]) -> None:
    node = MadeNode(sites["lab-1"], online=True, late=False, last_seen=NOW)
    roll = RollCall(folder, lambda _: {node.public_key: node})
    found = roll.sites((), NOW)
    folder.sites_file.write_text("{")
    assert roll.sites(found, after(5)) == found
