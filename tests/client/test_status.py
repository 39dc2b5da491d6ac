"""`mien agent status`: how a site stands, whole or half broken."""

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien_client.face.confinement_record import write_face_process_record
from mien_client.sessions import Session, write_session
from mien_client.site import Site, lock_file
from mien_client.status import Model, Participant, Sent, site_status
from mien_common.errors import SettingsError
from mien_common.files import make_folder, write_atomic

Make = Callable[..., Session]


@pytest.fixture
def full_site(site: Site, make_session: Make) -> Site:
    """Sessions of every kind, a model, receipts and a face process that was not confined."""
    kinds: dict[str, dict[str, Any]] = {
        "s-1": {"record": {"participant": "p-01"}},
        "s-2": {"record": {"participant": "p-01"}, "held_out": True},
        "s-3": {"rated": False},
        "s-4": {"record": {"features_from": "openface", "neutral": "source"}},
        "s-5": {"record": {"confined": False}},
    }
    for name, changes in kinds.items():
        write_session(site.sessions, make_session(name, **changes))
    write_face_process_record(site.state, {"confined": False, "landlock_abi": 0}, restarts=2)
    model = site.models / "round-0012-abcdef01"
    model.mkdir(parents=True)
    (model / "card.json").write_text(json.dumps({"run": "7", "round": 12, "created": "2026-11-23T09:00:00"}))
    (site.models / "newest").symlink_to(model.name)
    receipts = [
        {
            "time": f"2026-11-23T09:0{n}:00",
            "run": "7",
            "message": "m",
            "kind": "train",
            "bytes": n,
            "sha256": "0",
        }
        for n in range(5)
    ]
    site.receipts.write_text("".join(json.dumps(receipt) + "\n" for receipt in receipts))
    return site


def test_a_new_site(site: Site) -> None:
    status = site_status(site.folder)
    assert status.problems == []
    assert status.settings == site.settings
    assert status.agent_running is False
    assert status.sessions is not None
    assert (status.sessions.total, status.sessions.seen) == (0, None)
    assert (status.participants, status.model, status.sent, status.face_process) == ([], None, [], None)
    assert status.confinement is not None
    assert status.confinement.possible
    assert status.free_bytes is not None
    assert status.free_bytes > 0


def test_everything_a_site_has_is_told(full_site: Site) -> None:
    status = site_status(full_site.folder)
    assert status.problems == []
    sessions = status.sessions
    assert sessions is not None
    assert (sessions.to_train_on, sessions.held_out, sessions.unrated) == (3, 1, 1)
    assert sessions.seconds == pytest.approx(5 * 101 / 25)
    assert sessions.seen == pytest.approx(100 / 101, abs=1e-3)
    assert sessions.extractors == {"mediapipe": 4, "openface": 1}
    assert sessions.unconfined == 1
    assert status.participants == [Participant("p-01", 2, None), Participant(None, 3, None)]
    assert status.model == Model("7", 12, "2026-11-23T09:00:00")
    assert status.sent == [Sent(f"2026-11-23T09:0{n}:00", "7", "train", n) for n in (4, 3, 2)]
    assert status.face_process is not None
    assert (status.face_process.confined, status.face_process.restarts) == (False, 2)


def test_a_running_agent_is_seen_and_left_its_lock(site: Site) -> None:
    descriptor = lock_file(site)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert site_status(site.folder).agent_running is True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    assert site_status(site.folder).agent_running is False
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


BREAK: dict[str, tuple[Callable[[Site], object], str]] = {
    "settings": (lambda s: (s.folder / "site.toml").write_text("name = 7"), "site.toml"),
    "no key": (lambda s: s.private_key_file.unlink(), "site.key is not a usable private key"),
    "open key": (lambda s: s.private_key_file.chmod(0o644), "can be read by others. Run: chmod 600"),
    "no authority": (lambda s: s.ca_certificate.unlink(), "ca.crt is not a readable certificate"),
    "session": (lambda s: (s.sessions / "s-1" / "session.json").write_text("{"), "s-1 is no usable session"),
    "session's table": (
        lambda s: (s.sessions / "s-1" / "features.parquet").unlink(),
        "s-1 is no usable session (features.parquet is missing). Remove that session's folder",
    ),
    "old session": (
        lambda s: (s.sessions / "s-1" / "session.json").write_text('{"id": "s-1"}'),
        "was made by another version of Mien",
    ),
    "face process": (
        lambda s: (s.state / "face_process.json").write_text("?"),
        "face_process.json is damaged",
    ),
    "model": (lambda s: (s.models / "newest" / "card.json").write_text("[]"), "card.json is damaged"),
    "receipts": (lambda s: s.receipts.write_bytes(b"\xff\n"), "holds a line that is no receipt"),
    "calibration": (
        lambda s: write_atomic(make_folder(s.calibrations) / "p-01.json", b"{}"),
        "p-01.json is no usable calibration",
    ),
}


@pytest.mark.parametrize("part", BREAK)
def test_what_is_broken_is_said_and_the_rest_is_told(full_site: Site, part: str) -> None:
    damage, said = BREAK[part]
    damage(full_site)
    status = site_status(full_site.folder)
    assert len(status.problems) == 1
    assert said in status.problems[0]
    assert status.sessions is not None
    assert status.sessions.total == (4 if "session" in part else 5)
    assert (status.settings is None) == (part == "settings")
    assert (status.model is None) == (part == "model")


def test_a_folder_that_is_no_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a site"):
        site_status(tmp_path)


def run(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mien_common", "agent", "status", "--site", str(site.folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_command_for_people_and_programs(full_site: Site) -> None:
    text = run(full_site)
    assert (text.returncode, text.stderr) == (0, "")
    assert "5: 3 to train on, 1 held out, 1 unrated; 0 min, face seen 99 %" in text.stdout
    assert "mixed: 4 by mediapipe, 1 by openface" in text.stdout
    assert "NOT CONFINED" in text.stdout
    assert "1 BY AN UNCONFINED FACE PROCESS" in text.stdout
    assert "run 7, round 12" in text.stdout
    shutil.rmtree(full_site.sessions / "s-1")
    (full_site.sessions / "s-2" / "session.json").unlink()
    found = run(full_site, "--json")
    assert (found.returncode, found.stderr) == (1, "")
    content = json.loads(found.stdout)
    assert content["sessions"]["to_train_on"] == 2
    assert len(content["problems"]) == 1


def test_it_answers_without_anything_heavy() -> None:
    code = """
import sys
import mien_client.status, mien_client.commands.status
heavy = {"torch", "mediapipe", "cv2", "flwr", "matplotlib", "grpc"} & set(sys.modules)
sys.exit(f"loaded {sorted(heavy)}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
