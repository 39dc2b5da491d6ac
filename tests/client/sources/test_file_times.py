"""The time stamps of files, against ffprobe and Pillow: two readers that share nothing with us."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mien_client.sources.video_file import FileClock, open_video_file

from ..conftest import real_clips

FFmpeg = Callable[..., None]
FileTimes = Callable[[Path], list[float | None]]
Picture = NDArray[np.uint8]

TOLERANCE_S = 0.001
UNEVEN = "select='not(mod(n,3))+not(mod(n,7))'"


def our_times(path: Path) -> list[float]:
    with open_video_file(path) as video:
        return [frame.time_s for frame in video.frames()]


def film(rate_hz: int = 25, seconds: int = 2) -> tuple[str, ...]:
    return "-f", "lavfi", "-i", f"testsrc=size=64x48:rate={rate_hz}:duration={seconds}"


H264 = ("-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("b_frames.mp4", (*film(), *H264)),
        ("b_frames.avi", (*film(), "-c:v", "mpeg4", "-bf", "2")),
        ("b_frames.mpg", (*film(), "-c:v", "mpeg2video", "-bf", "2")),
        ("pieces.mp4", (*film(), *H264, "-movflags", "frag_keyframe+empty_moov")),
        ("late.mkv", (*film(), *H264, "-output_ts_offset", "5.3")),
        ("late.ts", (*film(), *H264, "-output_ts_offset", "5.3")),
        ("after_sound.mp4", ("-f", "lavfi", "-i", "sine=d=3", "-itsoffset", "0.7", *film(), *H264)),
        ("uneven.mp4", (*film(50), "-vf", UNEVEN, "-fps_mode", "vfr", *H264)),
        ("uneven.mkv", (*film(50), "-vf", UNEVEN, "-fps_mode", "vfr", *H264)),
        ("uneven.webm", (*film(50), "-vf", UNEVEN, "-fps_mode", "vfr", "-c:v", "libvpx")),
        ("slow.mp4", (*film(5, 4), *H264)),
        ("fast.mp4", (*film(240, 1), *H264)),
        ("fast.mkv", (*film(240, 1), *H264)),
    ],
    ids=lambda value: value if isinstance(value, str) else "h264" if "libx264" in value else "other",
)
def test_times_are_the_files_own(
    tmp_path: Path, ffmpeg: FFmpeg, file_times: FileTimes, name: str, arguments: tuple[str, ...]
) -> None:
    ffmpeg(*arguments, tmp_path / name)
    ours, theirs = our_times(tmp_path / name), file_times(tmp_path / name)
    assert len(ours) == len(theirs)
    known = [number for number, time in enumerate(theirs) if time is not None]
    assert len(known) >= len(theirs) - 2  # MPEG and AVI leave out the last frame's
    expected = np.array([theirs[number] for number in known]) - (theirs[0] or 0.0)
    assert np.array(ours)[known] == pytest.approx(expected, abs=TOLERANCE_S)
    assert (np.diff(ours) > 0).all()
    if "uneven" in name:
        assert np.ptp(np.diff(ours)) > 0.015  # or this file would show nothing


@pytest.mark.parametrize("clip", real_clips()[::6] or [None], ids=lambda clip: clip.name if clip else "none")
def test_times_of_real_clips_are_their_own(clip: Path | None, file_times: FileTimes) -> None:
    if clip is None:
        pytest.skip("no real clips on this machine")
    theirs = np.array(file_times(clip), float)
    assert our_times(clip) == pytest.approx(theirs - theirs[0], abs=TOLERANCE_S)


def test_uneven_frames_of_a_gif_come_at_their_times(
    tmp_path: Path, numbered_frames: Callable[[int], list[Picture]]
) -> None:
    """A file of variable frame rate that every machine can make and read in another way."""
    path, delays_ms = tmp_path / "uneven.gif", [40, 200, 70, 40, 1000, 100, 40, 330]
    first, *others = (Image.fromarray(frame) for frame in numbered_frames(len(delays_ms)))
    first.save(path, save_all=True, append_images=others, duration=delays_ms)
    assert our_times(path) == pytest.approx(np.cumsum([0, *delays_ms[:-1]]) / 1000, abs=TOLERANCE_S)


def clocked(stamps_s: list[float], rate_hz: float = 25.0) -> list[float]:
    clock = FileClock(rate_hz)
    return [clock.time_s(stamp_s) for stamp_s in stamps_s]


def test_a_film_without_time_stamps_goes_by_its_rate() -> None:
    assert clocked([0.0] * 6, rate_hz=20.0) == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2, 0.25])


def test_a_stamp_that_is_missing_at_the_end_goes_on_at_the_pace_so_far() -> None:
    assert clocked([0.04, 0.08, 0.12, 0.0], rate_hz=50.0) == pytest.approx([0.0, 0.04, 0.08, 0.12])


def test_an_untidy_stamp_costs_the_next_ones_nothing() -> None:
    assert clocked([1.0, 1.04, 1.04, 1.02, 1.08, 1.12]) == pytest.approx([0, 0.04, 0.041, 0.042, 0.08, 0.12])


def test_films_joined_end_to_end_go_on() -> None:
    joined = [0.5, 0.54, 0.58, 0.62, 1.5, 0.02, 0.06, 0.1]
    assert clocked(joined) == pytest.approx([0.0, 0.04, 0.08, 0.12, 1.0, 1.88, 1.92, 1.96])


@given(st.lists(st.floats(-1e3, 1e4), min_size=1, max_size=30))
def test_times_always_start_at_zero_and_rise(stamps_s: list[float]) -> None:
    times = clocked(stamps_s)
    assert times[0] == 0.0
    assert (np.diff(times) > 0).all()
