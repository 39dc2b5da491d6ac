"""The demo as a new user runs it: its figures, its summary, and that two runs agree."""

import fcntl
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from mien_common.published import read_published
from mien_lab.demo import MARKER
from mien_lab.mien_command import Argument, mien, run_mien

TINY = ("--participants", 2, "--sessions", 2, "--seconds", 15, "--rounds", 2)


def demo(out: Path, *options: Argument) -> dict[str, Any]:
    run_mien("lab", "demo", "--out", out, *options)
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def processes_about(folder: Path) -> list[str]:
    listing = subprocess.run(["pgrep", "-af", str(folder)], capture_output=True, text=True)
    return listing.stdout.splitlines()


def wait_until_nothing_runs(folder: Path) -> None:
    """The kernel takes a moment to clear away what was killed."""
    end = time.monotonic() + 30
    while running := processes_about(folder):
        assert time.monotonic() < end, running
        time.sleep(0.1)


def test_the_demo_learns_what_it_must(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    summary = demo(out)
    federated, alone, constant = summary["federated"], summary["local_mean"], summary["mean_predictor"]
    assert federated["valence"] >= 0.6
    assert federated["arousal"] >= 0.5
    assert federated["valence"] > alone["valence"]
    assert federated["arousal"] > alone["arousal"]
    assert abs(constant["valence"]) < 0.05
    assert abs(constant["arousal"]) < 0.05
    assert summary["rounds"] == 15
    assert set(summary["seconds"]) >= {"videos", "enrolment", "features", "federation", "baselines", "total"}
    assert summary["bytes_up"] > 0 < summary["bytes_down"]
    card, _ = read_published(Path(summary["model"]))
    assert card.round == 15
    wait_until_nothing_runs(out)


def test_two_demos_with_one_seed_agree(tmp_path: Path) -> None:
    first, second = (demo(tmp_path / name, *TINY) for name in ("first", "second"))
    for target in ("valence", "arousal"):
        assert first["federated"][target] == pytest.approx(second["federated"][target], abs=1e-3)
        assert first["local_mean"][target] == pytest.approx(second["local_mean"][target], abs=1e-3)


@pytest.mark.parametrize("stage", ["1/5", "3/5", "round   time"])
def test_ctrl_c_stops_everything(tmp_path: Path, stage: str) -> None:
    out = tmp_path / "demo"
    process = subprocess.Popen(
        mien("lab", "demo", "--out", out, *TINY, "--rounds", 500),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        for line in process.stdout:
            if stage in line:
                break
        os.kill(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    wait_until_nothing_runs(out)


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    ended = subprocess.run(
        mien("lab", "demo", "--out", tmp_path), capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert "is not empty and no demo made it" in ended.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (tmp_path / MARKER).open("w") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        ended = subprocess.run(
            mien("lab", "demo", "--out", tmp_path), capture_output=True, text=True, timeout=120
        )
    assert ended.returncode == 1
    assert f"another demo is running in {tmp_path}" in ended.stderr
