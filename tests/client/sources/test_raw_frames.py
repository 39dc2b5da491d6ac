"""Raw frames through a real pipe."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien_client.sources import RawFormat
from mien_client.sources.raw_frames import open_raw_frames
from mien_common.errors import MienError, SettingsError, VideoError

SMALL = RawFormat(4, 3, 50.0)
FRAME_BYTES = 4 * 3 * 3


@contextmanager
def pipe_of(content: bytes, *, closed: bool = True) -> Iterator[int]:
    """A pipe that somebody writes ``content`` into, in uneven pieces."""
    reading, writing = os.pipe()

    def write() -> None:
        for start in range(0, len(content), 25):
            os.write(writing, content[start : start + 25])
        if closed:
            os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    if not closed:  # what there is lies in the pipe before anybody's patience begins
        writer.join()
    try:
        yield reading
    finally:
        writer.join()
        os.close(reading)
        if not closed:
            os.close(writing)


def taken(descriptor: int, patience_s: float = 10.0) -> list[tuple[float, NDArray[np.uint8]]]:
    with open_raw_frames(SMALL, descriptor, patience_s) as source:
        return [(frame.time_s, frame.bgr.copy()) for frame in source.frames()]


def test_frames_come_byte_by_byte_at_their_rate() -> None:
    content = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 3), np.uint8)
    with pipe_of(content.tobytes()) as pipe:
        frames = taken(pipe)
    assert [time_s for time_s, _ in frames] == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert np.array_equal([bgr for _, bgr in frames], content)


def test_a_frame_that_is_cut_is_said_not_padded() -> None:
    with pipe_of(bytes(2 * FRAME_BYTES + 7)) as pipe, open_raw_frames(SMALL, pipe) as source:
        frames = source.frames()
        next(frames)
        next(frames)
        with pytest.raises(VideoError, match=r"middle of frame 3: 7 of 36 bytes\. Are its frames 4×3"):
            next(frames)


def test_an_empty_pipe_and_a_silent_one_are_said() -> None:
    with pipe_of(b"") as pipe, pytest.raises(VideoError, match="no frame came"):
        taken(pipe)
    with pipe_of(b"", closed=False) as pipe, pytest.raises(VideoError, match=r"nothing for 0.05 s after 0 "):
        taken(pipe, patience_s=0.05)
    some = bytes(FRAME_BYTES + 5)
    with pipe_of(some, closed=False) as pipe, pytest.raises(VideoError, match=r"nothing for 0.05 s after 1 "):
        taken(pipe, patience_s=0.05)


def test_a_keyboard_and_a_closed_input_are_said() -> None:
    ours, theirs = os.openpty()
    try:
        with pytest.raises(VideoError, match="is the keyboard"):
            taken(theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    with pytest.raises(VideoError, match="cannot be read: Bad file descriptor"):
        taken(theirs)


def test_standard_input_is_what_a_dash_means(tmp_path: Path) -> None:
    code = (
        "from mien_client.sources import RawFormat, open_source\n"
        "with open_source('-', raw=RawFormat.parse('4x3@50')) as source:\n"
        "    print(source.name, source.live, [round(frame.time_s, 3) for frame in source.frames()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=bytes(3 * FRAME_BYTES), capture_output=True, timeout=60
    )
    assert done.stdout.decode() == "stdin False [0.0, 0.02, 0.04]\n", done.stderr.decode()


def test_pixels_are_overwritten_after_use() -> None:
    with pipe_of(bytes([7]) * 2 * FRAME_BYTES) as pipe, open_raw_frames(SMALL, pipe) as source:
        pictures = [frame.bgr for frame in source.frames()]
    assert pictures[0] is pictures[1]
    assert not pictures[0].any()


@pytest.mark.parametrize("text", ["640x480@30", "640×480@29.97", " 1x8192@0.5 "])
def test_sizes_that_can_be(text: str) -> None:
    form = RawFormat.parse(text)
    assert f"{form.width}x{form.height}@{form.rate_hz:g}" == text.strip().replace("×", "x")


@pytest.mark.parametrize(
    "text", ["", "640x480", "640@30", "0x480@30", "640x8193@30", "640x480@0", "640x480@1001", "-1x5@3"]
)
def test_sizes_that_cannot_be(text: str) -> None:
    with pytest.raises(SettingsError, match="--raw"):
        RawFormat.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_a_clear_error(text: str) -> None:
    try:
        form = RawFormat.parse(text)
    except MienError:
        return
    assert 0 < form.rate_hz <= 1000
