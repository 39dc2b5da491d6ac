"""Ingesting takes the same memory however long the film is; the benchmark does it with half an hour."""

from pathlib import Path

import cv2
import numpy as np
from skimage import data

from mien_lab.benchmarks.memory import peaks_of_ingest, write_repeating


def test_ten_more_seconds_take_no_more_memory(tmp_path: Path) -> None:
    """Keeping the frames would take 57 MB more, and tracks of numbers take 0.1 MB."""
    portrait = cv2.resize(data.astronaut()[:384, :512, ::-1], (320, 240))  # type: ignore[no-untyped-call]
    pictures = [np.asarray(np.roll(portrait, step, axis=1), np.uint8) for step in range(6)]
    peaks = {}
    for seconds in (2, 12):
        write_repeating(tmp_path / f"{seconds}.avi", pictures, seconds)
        peaks[seconds] = peaks_of_ingest(tmp_path / f"{seconds}.avi", tmp_path / f"site-{seconds}")
    for short, long in zip(peaks[2], peaks[12], strict=True):
        assert short > 50, "no process that loads OpenCV or MediaPipe is so small"
        assert long - short < 25
