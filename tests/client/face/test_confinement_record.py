"""Where a face process cannot be confined the agent refuses, or goes on by the user's word and says so."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mien_client.face.confinement_record import (
    RECORD_FILE,
    confinement_report,
    read_face_process_record,
    require_confinement,
    write_face_process_record,
)
from mien_client.face.landlock import landlock_abi
from mien_client.site import Site
from mien_common.errors import ConfinementError

ALLOW = "--allow-unconfined-face-process"

NO_MORE_FILTERS = """
    import errno, os, sys
    import pyseccomp

    # A kernel that takes no further filter, as one without the feature, and under which this is the last.
    rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "seccomp")
    rules.add_rule(pyseccomp.ERRNO(errno.EINVAL), "prctl", pyseccomp.Arg(0, pyseccomp.EQ, 22))
    rules.load()
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def where_no_filter_loads(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in a process whose kernel refuses seccomp filters, really."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NO_MORE_FILTERS), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"COLUMNS": "200"},
    )


def test_the_agent_refuses_frames_where_they_cannot_be_confined(site: Site, face_video: Path) -> None:
    done = where_no_filter_loads(
        "-m", "mien_common", "agent", "ingest", str(face_video), "--site", str(site.folder)
    )
    assert done.returncode == 1, done.stdout
    assert "error: the kernel refused the seccomp filter" in done.stderr
    assert ALLOW in done.stderr, "the error must say how to go on"
    assert not list(site.sessions.iterdir())
    assert read_face_process_record(site.state) is None


def test_by_the_users_word_it_goes_on_and_says_so_everywhere(site: Site, face_video: Path) -> None:
    done = where_no_filter_loads(
        *("-m", "mien_common", "agent", "ingest", str(face_video), "--site", str(site.folder), ALLOW)
    )
    assert done.returncode == 0, done.stderr
    assert "going on without, as you allowed" in done.stderr
    (session,) = site.sessions.glob("*/session.json")
    assert json.loads(session.read_text())["confined"] is False
    record = read_face_process_record(site.state)
    assert record is not None
    assert not record.confined
    assert str(record) == f"NOT CONFINED, as {ALLOW} was given"
    status = subprocess.run(
        [sys.executable, "-m", "mien_common", "agent", "status", "--site", str(site.folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "NOT CONFINED" in status.stdout, status.stderr


@pytest.mark.parametrize("command", ["calibrate", "predict", "watch"])
def test_every_command_that_looks_at_frames_takes_the_users_word(
    site: Site, face_video: Path, tmp_path: Path, command: str
) -> None:
    arguments = {
        "calibrate": ("--participant", "p-07", "--site", str(site.folder)),
        "predict": ("--model", str(tmp_path / "no-model")),
        "watch": ("--seconds", "0"),
    }[command]
    base = ("-m", "mien_common", "agent", command, str(face_video), *arguments)
    refused = where_no_filter_loads(*base)
    assert refused.returncode == 1, refused.stdout
    assert ALLOW in refused.stderr, "the error must say how to go on"
    allowed = where_no_filter_loads(*base, ALLOW)
    assert "going on without, as you allowed" in allowed.stderr
    assert "error: the kernel refused" not in allowed.stderr, "it may refuse the model"


def test_the_word_changes_nothing_where_it_is_not_needed(caplog: pytest.LogCaptureFixture) -> None:
    assert require_confinement(allow_unconfined=True) is True
    assert require_confinement(allow_unconfined=False) is True
    assert not caplog.records


def test_the_report_is_of_a_real_trial() -> None:
    report = confinement_report()
    assert report.possible
    assert report.reason == ""
    assert report.landlock_abi == landlock_abi()
    code = "from mien_client.face.confinement_record import confinement_report; print(confinement_report())"
    refused = where_no_filter_loads("-c", code)
    assert refused.stdout.startswith("cannot be confined here: the kernel refused the seccomp filter"), (
        refused
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_face_process_record(tmp_path) is None
    write_face_process_record(tmp_path, {"confined": True, "seccomp": True, "landlock_abi": 6}, restarts=2)
    record = read_face_process_record(tmp_path)
    assert record is not None
    assert (record.confined, record.landlock_abi, record.restarts) == (True, 6, 2)
    assert str(record) == "confined (seccomp, Landlock 6)"
    write_face_process_record(tmp_path, {"confined": True, "landlock_abi": 0}, restarts=0)
    assert "no Landlock on this kernel" in str(read_face_process_record(tmp_path))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"at": 1, "confined": true, "landlock_abi": 7, "restarts": 0}', "\xff"]
)
def test_a_damaged_record_is_said_to_be(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD_FILE).write_text(content)
    with pytest.raises(ConfinementError, match=r"is damaged\. Remove it"):
        read_face_process_record(tmp_path)
