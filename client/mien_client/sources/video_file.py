"""Frames with time stamps from a video file, by OpenCV.

Enters: the path of a video. Leaves: :class:`~mien_client.frames.Frame` in memory, one at a time, for
the face process. Never leaves: a pixel, to any disk.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien_common.errors import VideoError
from mien_common.files import is_there

from ..frames import Frame
from .opencv import FrameBuffer, open_capture
from .source import LONGEST_S, LONGEST_SIDE

FILE_TIMEOUT_S: Final = 20.0
"""A file whose next frame takes longer to read than this is given up: a dead network drive, or a trap."""
TRUNCATED_BELOW: Final = 0.985
"""A file is damaged when it ends before this share of both the frames and the time it announces.

Both, because containers without a count estimate it from the time, and a camera may have dropped frames.
"""
_STARTS_ANEW_S: Final = 0.5
"""A step back in time that is longer is a new beginning (files joined end to end), not an untidy stamp."""


@dataclass(frozen=True)
class VideoFile:
    """An open video file."""

    path: Path
    height: int
    width: int
    rate_hz: float
    expected_frames: int
    """By the container's own word; 0 where it does not say."""
    _decoder: Any = field(repr=False)
    live: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, with the file's own time stamps.

        Raises
        ------
        VideoError
            The file ends long before its container says, claims to last days, or no frame can be decoded.
        """
        import cv2

        count, before_s, clock = 0, 0.0, FileClock(self.rate_hz)
        with FrameBuffer(self.height, self.width) as buffer:
            while (bgr := buffer.read(self._decoder)) is not None:
                time_s = clock.time_s(self._decoder.get(cv2.CAP_PROP_POS_MSEC) / 1000.0)
                if time_s > LONGEST_S:
                    raise VideoError(
                        f"{self.path} claims a frame {time_s:.0f} s after its first; a day is the longest "
                        "that is taken. Convert it, or cut it into pieces."
                    )
                if count == 0:
                    before_s = self._decoder.get(cv2.CAP_PROP_PTS) / self.rate_hz
                count += 1
                yield Frame(time_s, bgr)
        if count == 0:
            raise VideoError(
                f"{self.path} holds no frame that can be decoded. Convert it, or record it again."
            )
        self._refuse_truncated(count, clock.last_s, before_s)

    def _refuse_truncated(self, count: int, last_s: float, before_s: float) -> None:
        """``before_s``: where the film starts on the container's clock; some count that time as well."""
        before_s = before_s if math.isfinite(before_s) and before_s > 0 else 0.0
        announced = self.expected_frames - before_s * self.rate_hz
        if (
            count < TRUNCATED_BELOW * announced - 1
            and last_s < (TRUNCATED_BELOW * announced - 1) / self.rate_hz
        ):
            raise VideoError(
                f"{self.path} is truncated: it announces {self.expected_frames} frames and {count} can be "
                "decoded. Copy it again, or cut it where it ends."
            )


class FileClock:
    """Seconds since the first frame, from the stamps of a file; mends what is missing or falls back."""

    def __init__(self, rate_hz: float) -> None:
        self.last_s = -1.0
        self._step_s = 1 / rate_hz
        self._zero_s: float | None = None

    def time_s(self, stamp_s: float) -> float:
        """When the next frame is shown; strictly later than the one before."""
        if self._zero_s is None:
            self._zero_s, self.last_s = stamp_s, 0.0
            return 0.0
        time_s = stamp_s - self._zero_s
        if stamp_s == 0.0:  # how OpenCV says "no stamp"; go on at the pace so far
            time_s = self.last_s + self._step_s
        elif time_s > self.last_s:
            self._step_s = time_s - self.last_s
        elif time_s > self.last_s - _STARTS_ANEW_S:
            time_s = self.last_s + 0.001
        else:
            time_s = self.last_s + self._step_s
            self._zero_s = stamp_s - time_s
        self.last_s = max(time_s, float(np.nextafter(self.last_s, math.inf)))
        return self.last_s


@contextmanager
def open_video_file(path: Path) -> Iterator[VideoFile]:
    """Open a video file for reading.

    Raises
    ------
    VideoError
        There is no such file, it is empty, or it is not a video.
    InputError
        The path cannot even be looked for.
    """
    if not is_there(path):
        raise VideoError(f"there is no file {path}.")
    if not path.is_file():
        raise VideoError(f"{path} is not a file. Give a video file.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}.") from error
    if empty:
        raise VideoError(f"{path} is empty. Copy or record it again.")
    with _name_for_opencv(path) as name:
        decoder = open_capture(name, FILE_TIMEOUT_S)
        try:
            yield _opened(path, decoder)
        finally:
            decoder.release()


@contextmanager
def _name_for_opencv(path: Path) -> Iterator[str]:
    """The path as OpenCV can take it: a name that is not UTF-8, which crashes it, goes by number."""
    name = str(path.resolve())
    try:
        name.encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/proc/self/fd/{file.fileno()}"
        return
    yield name


def _opened(path: Path, decoder: Any) -> VideoFile:
    import cv2

    height, width = (
        int(decoder.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        int(decoder.get(cv2.CAP_PROP_FRAME_WIDTH)),
    )
    if not decoder.isOpened() or height <= 0 or width <= 0:
        raise VideoError(
            f"{path} is not a video that can be decoded, or its index is cut off. "
            "Give a file that a video player shows."
        )
    if max(height, width) > LONGEST_SIDE:
        raise VideoError(
            f"{path} has frames of {width}×{height}; from 1 to {LONGEST_SIDE} pixels a side work."
        )
    rate_hz = float(decoder.get(cv2.CAP_PROP_FPS))
    return VideoFile(
        path=path,
        height=height,
        width=width,
        rate_hz=rate_hz if 0 < rate_hz < 1000 else 25.0,
        expected_frames=max(int(decoder.get(cv2.CAP_PROP_FRAME_COUNT)), 0),
        _decoder=decoder,
    )
