"""Independent makers and readers of video, where this machine has them (package ffmpeg)."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """Runs ffmpeg with the given arguments."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed (apt-get install ffmpeg)")

    def run(*arguments: str | Path) -> None:
        subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def file_times() -> Callable[[Path], list[float | None]]:
    """When a file's frames are shown, by ffprobe: seconds on its own clock, None where it says nothing."""
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("ffprobe is not installed (apt-get install ffmpeg)")

    def read(path: Path) -> list[float | None]:
        ask = ["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time", "-of", "json"]
        told = subprocess.run(
            [program, "-v", "error", *ask, str(path)], check=True, timeout=120, capture_output=True
        ).stdout
        times = (frame.get("best_effort_timestamp_time") for frame in json.loads(told)["frames"])
        return [None if time is None else float(time) for time in times]

    return read
