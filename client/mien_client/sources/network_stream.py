"""A camera in the network, by RTSP over TCP.

Enters: an ``rtsp://`` or ``rtsps://`` address, which may hold a login. Leaves:
:class:`~mien_client.sources.live.LiveSource`. Never leaves: the login and the path of the address (some
cameras want a password in it), to any message, log or name; a pixel, to any disk.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from mien_common.errors import VideoError

from .live import LiveSource
from .opencv import open_capture
from .source import LONGEST_SIDE, Say

STREAM_TIMEOUT_S: Final = 5.0
"""A stream that sends nothing for this long is lost."""
_PORTS: Final = {"rtsp": 554, "rtsps": 322}
_OPTIONS: Final = "rtsp_transport;tcp|fflags;nobuffer|analyzeduration;1000000"
"""TCP, because lost UDP packets become smears that pass for movements of a face; and no frames held back
while FFmpeg looks at the stream, which would come in a burst and late."""
_USUAL_RATE_HZ: Final = 25.0


@contextmanager
def open_network_stream(address: str, say: Say) -> Iterator[LiveSource]:
    """Open a network stream; it is closed at the end.

    Raises
    ------
    VideoError
        The address cannot be read, nobody answers there, or no video comes.
    """
    parts = _parts(address)
    name = _name(parts)
    _require_answer(parts, name)
    capture = _opened(address)
    if capture is None:
        raise VideoError(
            f"{name} answers but sends no video. Check the address's path, "
            "its login, and that a video player shows it."
        )
    import cv2

    size = (int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
    if not all(1 <= side <= LONGEST_SIDE for side in size):
        capture.release()
        raise VideoError(
            f"{name} has frames of {size[1]}×{size[0]}; from 1 to {LONGEST_SIDE} pixels a side work."
        )
    announced_hz = float(capture.get(cv2.CAP_PROP_FPS))
    source = LiveSource(
        name=name,
        size=size,
        rate_hz=announced_hz if 0 < announced_hz < 1000 else _USUAL_RATE_HZ,
        capture=capture,
        reopen=lambda: _opened(address),
        say=say,
    )
    try:
        yield source
    finally:
        source.close()


def _parts(address: str) -> SplitResult:
    """The address in pieces; errors quote nothing of it, for it may hold a password."""
    problem = VideoError(
        "this address cannot be read. Write it as rtsp://host:port/path, with any of @ : / ? # % in a "
        "user name or password as %40 %3A %2F %3F %23 %25."
    )
    if any(ord(character) <= ord(" ") for character in address.strip()):
        raise problem
    try:
        parts = urlsplit(address.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise problem from None
    # An @ behind the host is the end of a password that holds a / ? or #.
    if not host or "@" in parts.path + parts.query + parts.fragment or parts.netloc.count("@") > 1:
        raise problem
    if parts.scheme not in _PORTS:
        raise VideoError(
            f"addresses of the kind {parts.scheme}:// are not read; rtsp:// and rtsps:// are. "
            "Save the recording, and give the file."
        )
    return parts


def _name(parts: SplitResult) -> str:
    port = f":{parts.port}" if parts.port is not None else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _require_answer(parts: SplitResult, name: str) -> None:
    """Somebody takes the connection: OpenCV can only say that it did not work."""
    try:
        place = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        socket.create_connection(place, STREAM_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "no answer"
        raise VideoError(
            f"{name} cannot be reached ({reason}). Check the address, and that the camera is on."
        ) from None


def _opened(address: str) -> Any:
    """OpenCV's capture; None where no video comes."""
    capture = open_capture(address.strip(), STREAM_TIMEOUT_S, _OPTIONS)
    if capture.isOpened():
        return capture
    capture.release()
    return None
