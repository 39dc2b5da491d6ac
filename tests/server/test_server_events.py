"""The server's own journal: whole lines from any number of processes, and nothing fails because of it."""

import datetime as dt
import json
import logging
import resource
import subprocess
import sys
from typing import Any

import pytest

from mien_common.errors import SettingsError
from mien_common.release_version import parse_version
from mien_common.site_keys import new_key, public_openssh
from mien_server import server_events
from mien_server.folder import ServerFolder
from mien_server.history.kinds import KINDS
from mien_server.membership.enrolment import enrol_key, revoke, rotate
from mien_server.membership.invites import invite, redeem
from mien_server.publishing.releases import promote, roll_back
from mien_server.server_events import events_file, record_event

from ..made_models import RUN, publish_model
from .membership.test_invites import HOUR, request, rotation

NOW = dt.datetime.now(dt.UTC)

WRITER = """
import sys
from pathlib import Path
from mien_server.folder import open_folder
from mien_server.server_events import record_event
folder = open_folder(Path(sys.argv[1]))
for number in range(100):
    assert record_event(folder, "invited", site=f"lab-{sys.argv[2]}", count=number)
"""


def events(folder: ServerFolder) -> list[dict[str, Any]]:
    """Every event of the journal, without the times; a line that is not whole JSON fails the test."""
    lines = events_file(folder).read_text().splitlines()
    found = [dict(json.loads(line)) for line in lines]
    for event in found:
        assert dt.datetime.fromisoformat(event.pop("time")).tzinfo is not None
        assert event["event"] in KINDS
    return found


def test_several_processes_write_at_once_and_no_line_is_lost_or_mixed(folder: ServerFolder) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder.path), str(number)]) for number in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    found = events(folder)
    for number in range(4):
        own = [event["count"] for event in found if event["site"] == f"lab-{number}"]
        assert own == list(range(100))
    assert events_file(folder).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("rest", [b'{"event": "inv', b'{"event"\x00', b"x" * 5000])
def test_half_a_line_that_a_killed_process_left_is_cut_and_nothing_else(
    folder: ServerFolder, rest: bytes
) -> None:
    record_event(folder, "invited", site="lab-1")
    with events_file(folder).open("ab") as journal:
        journal.write(rest)
    record_event(folder, "revoked", site="lab-1", how="invitation")
    assert [event["event"] for event in events(folder)] == ["invited", "revoked"]


def test_a_full_disk_leaves_whole_lines_and_what_was_done(
    folder: ServerFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit lets half a line through, as a nearly full disk does."""
    record_event(folder, "invited", site="lab-1")
    size = events_file(folder).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with caplog.at_level(logging.WARNING):
            assert not record_event(folder, "invited", site="lab-2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "event=not_recorded kind=invited" in caplog.text
    assert [event["site"] for event in events(folder)] == ["lab-1"]
    assert record_event(folder, "invited", site="lab-3")
    assert [event["site"] for event in events(folder)] == ["lab-1", "lab-3"]


def test_a_site_is_let_in_although_nothing_can_be_recorded(
    folder: ServerFolder, caplog: pytest.LogCaptureFixture
) -> None:
    events_file(folder).mkdir()  # nobody can write this, root neither
    code = invite(folder, "lab-2", "127.0.0.1", HOUR, NOW)
    site = redeem(folder, request(code.secret), NOW)
    assert site is not None
    assert site.name == "lab-2"
    assert caplog.text.count("event=not_recorded") == 2
    assert code.secret.hex() not in caplog.text


def test_a_journal_that_strangers_filled_takes_only_what_the_operator_does(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_events, "STRANGERS_LIMIT_BYTES", 1000)
    while record_event(folder, "refused", how="login", count=1):
        assert events_file(folder).stat().st_size < 2000
    assert record_event(folder, "revoked", site="lab-1", how="key")
    assert events(folder)[-1]["event"] == "revoked"


class TestWhatIsRecorded:
    def test_a_sites_life_by_code(self, folder: ServerFolder) -> None:
        code = invite(folder, "lab-2", "127.0.0.1", HOUR, NOW)
        asked = request(code.secret)
        redeem(folder, asked, NOW)
        redeem(folder, asked, NOW)  # its answer was lost: no second event
        redeem(folder, request(code.secret), NOW)  # somebody else's key: refused, which the door counts
        revoke(folder, "lab-2", NOW)
        assert events(folder) == [
            {"event": "invited", "site": "lab-2"},
            {"event": "enrolled", "site": "lab-2", "how": "code"},
            {"event": "revoked", "site": "lab-2", "how": "key"},
        ]

    def test_a_withdrawn_invitation_and_what_failed(self, folder: ServerFolder) -> None:
        invite(folder, "lab-2", "127.0.0.1", HOUR, NOW)
        revoke(folder, "lab-2", NOW)
        with pytest.raises(SettingsError):
            revoke(folder, "lab-9", NOW)
        with pytest.raises(SettingsError):
            invite(folder, "lab-3", "elsewhere.example.org", HOUR, NOW)
        assert events(folder) == [
            {"event": "invited", "site": "lab-2"},
            {"event": "revoked", "site": "lab-2", "how": "invitation"},
        ]

    def test_a_key_by_hand_and_its_rotation(self, folder: ServerFolder) -> None:
        old, new = new_key(), new_key()
        enrol_key(folder, public_openssh(old.public_key()), "lab-1", NOW, "a file")
        asked = rotation(old, new)
        rotate(folder, asked, NOW)
        rotate(folder, asked, NOW)
        assert events(folder) == [
            {"event": "enrolled", "site": "lab-1", "how": "key"},
            {"event": "key_rotated", "site": "lab-1"},
        ]

    def test_releases(self, folder: ServerFolder) -> None:
        for number in (1, 2):
            publish_model(folder.models, number)
            promote(folder, folder.models / RUN / f"round-{number:04d}", None, NOW)
        roll_back(folder, parse_version("1.0.0"), NOW)
        assert events(folder) == [
            {"event": "promoted", "version": "1.0.0", "run": RUN, "round": 1},
            {"event": "promoted", "version": "1.1.0", "run": RUN, "round": 2},
            {"event": "rolled_back", "version": "1.0.0", "run": RUN, "round": 1},
        ]
