"""What the sources that decode with OpenCV share: how it is opened, and one buffer for all frames.

Enters: a name or address, and what OpenCV decodes. Leaves: pictures in a buffer that is written over
by each next one and zeroed at the end. Never leaves: OpenCV's own chatter, which may quote addresses.
"""

import os
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

# OpenCV reads these when it first opens something: our own errors say what is wrong, FFmpeg's chatter
# does not, and may quote an address with its password. A camera that sends nothing is lost after seconds.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")

_OPTIONS: Final = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
"""OpenCV reads this at each opening; what a person set there would change files' time stamps too."""


class Capture(Protocol):
    """What is used of OpenCV's ``VideoCapture``."""

    def isOpened(self) -> bool: ...  # noqa: N802  # OpenCV's name
    def read(self, image: NDArray[np.uint8]) -> tuple[bool, Any]: ...
    def get(self, what: int) -> float: ...
    def release(self) -> None: ...


def quiet_opencv() -> Any:
    """OpenCV, told to keep its warnings to itself, whoever loaded it first."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def open_capture(name: str, timeout_s: float, options: str | None = None) -> Any:
    """OpenCV's decoder for a file or address by FFmpeg; whether it opened is for the caller to ask.

    The back end is named so that OpenCV never tries the name as a pattern of images or a pipeline.
    ``options`` are FFmpeg's, as OpenCV writes them: ``name;value|name;value``.
    """
    cv2 = quiet_opencv()
    timeout_ms = round(1000 * timeout_s)
    if options is not None:
        os.environ[_OPTIONS] = options
    elif _OPTIONS in os.environ:  # asked first: other threads may be reading the environment
        del os.environ[_OPTIONS]
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    return cv2.VideoCapture(name, cv2.CAP_FFMPEG, limits)


def open_camera(device: str) -> Any:
    """OpenCV's capture of a camera by Video4Linux."""
    cv2 = quiet_opencv()
    return cv2.VideoCapture(device, cv2.CAP_V4L2)


class FrameBuffer:
    """Memory for one frame, which each frame of a recording is decoded into; zeroed when it is left.

    Parameters
    ----------
    height, width : of the frames announced. Others, as browsers record them when the picture is
        resized midway, are scaled to fit inside.
    """

    def __init__(self, height: int, width: int) -> None:
        self._bgr = np.zeros((height, width, 3), np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Overwrite the last frame."""
        self._bgr[...] = 0

    def read(self, capture: Capture) -> NDArray[np.uint8] | None:
        """The next frame, None where there is no further one. Valid until the next call."""
        decoded, bgr = capture.read(self._bgr)
        if not decoded or bgr is None:
            return None
        return self._bgr if bgr is self._bgr else self._fit(bgr)

    def _fit(self, bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture of another size, inside the buffer: as it is where there is room, else scaled down."""
        import cv2

        height, width = self._bgr.shape[:2]
        scale = min(height / bgr.shape[0], width / bgr.shape[1], 1.0)
        size = (max(int(bgr.shape[1] * scale), 1), max(int(bgr.shape[0] * scale), 1))
        room: NDArray[np.uint8] = self._bgr[: size[1], : size[0]]
        if size == (bgr.shape[1], bgr.shape[0]):
            room[...] = bgr
        else:
            room[...] = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        bgr[...] = 0
        return room


def decode_picture(content: bytes) -> NDArray[np.uint8] | None:
    """(height, width, 3) of a picture file's bytes, upright as its Exif note says; None where it is none."""
    cv2 = quiet_opencv()
    if not content:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else np.asarray(bgr, np.uint8)
