"""Frames with time stamps from a video file, by OpenCV.

Enters: the path of a video. Leaves: :class:`~mien_client.frames.Frame` in memory, one at a time, for
the face process. Never leaves: a pixel, to any disk.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien_common.errors import VideoError
from mien_common.files import is_there
from mien_common.schema import AU_V1, LONGEST_FRAMES

from .frames import Frame

# OpenCV reads these when it loads: our own errors say what is wrong, its chatter does not.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

LONGEST_SIDE: Final = 8192
LONGEST_S: Final = (LONGEST_FRAMES - 1) / AU_V1.rate_hz
TRUNCATED_BELOW: Final = 0.985
"""A file is damaged when it ends before this share of both the frames and the time it announces.

Both, because containers without a count estimate it from the time, and a camera may have dropped frames.
"""


@dataclass(frozen=True)
class Video:
    """An open video file."""

    path: Path
    height: int
    width: int
    rate_hz: float
    expected_frames: int
    """By the container's own word; 0 where it does not say."""
    _decoder: Any

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, with the file's own time stamps.

        Raises
        ------
        VideoError
            The file ends long before its container says, claims to last days, or no frame can be decoded.
        """
        import cv2

        count, last_s, first_s = 0, -1.0, 0.0
        while True:
            decoded, bgr = self._decoder.read()
            if not decoded or bgr is None:
                break
            time_s = self._decoder.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if count == 0:
                first_s = time_s
            time_s -= first_s
            if time_s <= last_s:  # some containers carry no usable time stamps
                time_s = max(count / self.rate_hz, last_s + 0.001)
            if time_s > LONGEST_S:
                raise VideoError(
                    f"{self.path} claims a frame {time_s:.0f} s after its first; a day is the longest that "
                    "is taken. Convert it, or cut it into pieces."
                )
            last_s = time_s
            count += 1
            yield Frame(time_s, bgr)
        if count == 0:
            raise VideoError(
                f"{self.path} holds no frame that can be decoded. Convert it, or record it again."
            )
        announced_s = self.expected_frames / self.rate_hz
        if (
            count < TRUNCATED_BELOW * self.expected_frames - 1
            and last_s < TRUNCATED_BELOW * announced_s - 1 / self.rate_hz
        ):
            raise VideoError(
                f"{self.path} is truncated: it announces {self.expected_frames} frames and {count} can be "
                "decoded. Copy it again, or cut it where it ends."
            )


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a video file for reading.

    Raises
    ------
    VideoError
        There is no such file, it is empty, or it is not a video.
    """
    import cv2

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
        # The back end is named so that OpenCV never tries the path as a pattern of images or a pipeline.
        decoder = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
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


def _opened(path: Path, decoder: Any) -> Video:
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
    return Video(
        path=path,
        height=height,
        width=width,
        rate_hz=rate_hz if 0 < rate_hz < 1000 else 25.0,
        expected_frames=max(int(decoder.get(cv2.CAP_PROP_FRAME_COUNT)), 0),
        _decoder=decoder,
    )
