"""A camera of this machine, by Video4Linux.

Enters: the camera's number or device file. Leaves: :class:`~mien_client.sources.live.LiveSource`.
Never leaves: a pixel, to any disk.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mien_common.errors import VideoError

from . import opencv
from .live import LiveSource
from .source import LONGEST_SIDE, Say

_NUMBER: Final = re.compile(r"[0-9]{1,3}")
_DEVICE: Final = re.compile(r"/dev/(video[0-9]+|v4l/.+)")
_USUAL_RATE_HZ: Final = 30.0


def camera_device(spec: str) -> Path | None:
    """The device file of ``0`` or ``/dev/video0``; None where ``spec`` names no camera."""
    if _NUMBER.fullmatch(spec):
        return Path(f"/dev/video{int(spec)}")
    return Path(spec) if _DEVICE.fullmatch(spec) else None


@contextmanager
def open_camera(device: Path, rate_hz: float | None, say: Say) -> Iterator[LiveSource]:
    """Open a camera; it is released at the end.

    Parameters
    ----------
    rate_hz : frames a second to ask for; what the camera chooses when None. It may not comply.

    Raises
    ------
    VideoError
        There is no such camera, it may not be opened, or gives no pictures.
    """
    _require_device(device)
    capture = _opened(device, rate_hz)
    if capture is None:
        raise VideoError(
            f"{device} cannot be used: another program may hold it, or it gives no pictures (some cameras "
            "have a second device file without any). Close other programs, or give another number."
        )
    import cv2

    size = (int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
    if not all(1 <= side <= LONGEST_SIDE for side in size):
        capture.release()
        raise VideoError(f"{device} says its pictures are {size[1]}×{size[0]}. Give another camera.")
    announced_hz = float(capture.get(cv2.CAP_PROP_FPS))
    source = LiveSource(
        name=f"camera {device.name.removeprefix('video')}",
        size=size,
        rate_hz=announced_hz if 0 < announced_hz < 1000 else _USUAL_RATE_HZ,
        capture=capture,
        reopen=lambda: _opened(device, rate_hz),
        say=say,
    )
    try:
        yield source
    finally:
        source.close()


def _require_device(device: Path) -> None:
    try:
        kind = device.stat().st_mode
    except OSError as error:
        here = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise VideoError(
            f"there is no camera {device} ({error.strerror}). Plug it in; cameras of this machine: {here}."
        ) from error
    if not stat.S_ISCHR(kind):
        raise VideoError(f"{device} is not a camera. Give a number, or a file like /dev/video0.")
    if not os.access(device, os.R_OK | os.W_OK):
        raise VideoError(
            f"{device} may not be opened by this user. Join the group that owns it, usually `video`."
        )


def _opened(device: Path, rate_hz: float | None) -> Any:
    """OpenCV's capture; None where the camera is not there, not free, or no camera."""
    import cv2

    if not device.exists():  # asked here, for OpenCV takes a while to find that out
        return None
    capture = opencv.open_camera(str(device))
    if not capture.isOpened():
        capture.release()
        return None
    if rate_hz is not None:
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
    return capture
