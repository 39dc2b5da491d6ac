"""The videos a puppet is written to: what another program reads back."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien_lab import puppet_avi
from mien_lab.puppet_avi import MjpegWriter


def _frame(shade: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((48, 64, 3), shade, np.uint8)


def test_opencv_reads_back_size_rate_count_and_pictures(tmp_path: Path) -> None:
    path = tmp_path / "grey.avi"
    with MjpegWriter(path, (64, 48), 25, quality=90) as writer:
        for shade in range(0, 250, 10):
            writer.write(_frame(shade))
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 25
    assert video.get(cv2.CAP_PROP_FPS) == 25
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (64, 48)
    for shade in range(0, 250, 10):
        found, picture = video.read()
        assert found
        assert abs(float(np.mean(picture)) - shade) < 3
    assert not video.read()[0]
    video.release()


def test_the_index_lets_a_player_jump(tmp_path: Path) -> None:
    path = tmp_path / "grey.avi"
    with MjpegWriter(path, (64, 48), 25, quality=90) as writer:
        for shade in range(0, 250, 10):
            writer.write(_frame(shade))
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, 20)
    assert abs(float(np.mean(video.read()[1])) - 200) < 3
    video.release()


def _write(path: Path, frames: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    with MjpegWriter(path, (64, 48), 25, quality=90) as writer:
        for _ in range(frames):
            writer.write(noise)


def test_a_full_disk_is_an_error(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        _write(small_disk / "noise.avi", 100)


def test_a_video_too_long_for_the_format_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puppet_avi, "LARGEST_BYTES", 10_000)
    with pytest.raises(OSError, match="2 GiB"):
        _write(tmp_path / "long.avi", 10)
