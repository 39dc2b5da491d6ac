"""Opens whatever a person named as a source: decides what kind it is, and nothing more.

Enters: a specification as written on the command line. Leaves: an open :class:`Source`.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from mien_common.errors import SettingsError, VideoError
from mien_common.files import is_there

from ..face.frame_memory import overwrite_freed_memory
from .camera import camera_device, open_camera
from .image_folder import open_image_folder
from .network_stream import open_network_stream
from .raw_frames import RawFormat, open_raw_frames
from .source import FASTEST_HZ, Say, Source
from .video_file import open_video_file

Spec = str | Path
"""A :class:`Path` always names a file or folder, also one called ``0`` or ``-``."""

ADDRESS_FOR_FILE: Final = (
    "a network stream has no end and cannot be taken as a file. Watch it with `mien agent watch`, or save it "
    "and give the file."
)
_log = logging.getLogger(__name__)
_ADDRESS: Final = re.compile(r"\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


@contextmanager
def open_source(
    spec: Spec, *, rate_hz: float | None = None, raw: RawFormat | None = None, say: Say = _log.warning
) -> Iterator[Source]:
    """Open a source of frames.

    Parameters
    ----------
    spec : ``-`` for raw frames on standard input; a number or ``/dev/video…`` for a camera;
        ``rtsp://`` or ``rtsps://`` for a network stream; else a folder of pictures or a video file.
    rate_hz : pictures a second of a folder (25 when None), or the rate to ask a camera for. Files
        and network streams have time stamps of their own.
    raw : the size and rate of raw frames; needed for ``-`` and only for it.
    say : told when a live source is lost and when it is back.

    Raises
    ------
    VideoError
        There is no such source, or it cannot be read as one.
    SettingsError
        ``raw`` or ``rate_hz`` is missing, or given for a source that has no use for it.
    InputError
        The path cannot even be looked for.
    """
    overwrite_freed_memory()  # before the decoder allocates anything
    with _opener(spec, rate_hz, raw, say) as source:
        yield source


def needs_network(spec: Spec) -> bool:
    """Whether frames of ``spec`` come over the network; for all others the network can be given up."""
    return isinstance(spec, str) and is_address(spec)


def is_address(spec: Spec) -> bool:
    """Whether it reads like ``rtsp://…`` and is no file's name; it may hold a login, so do not quote it."""
    return _ADDRESS.match(str(spec)) is not None and not os.path.exists(spec)  # noqa: PTH110  # never raises


def _opener(
    spec: Spec, rate_hz: float | None, raw: RawFormat | None, say: Say
) -> AbstractContextManager[Source]:
    if rate_hz is not None and not 0 < rate_hz <= FASTEST_HZ:
        raise SettingsError(f"a rate of {rate_hz:g} frames a second cannot be; up to {FASTEST_HZ:g} works.")
    if isinstance(spec, str) and not spec.strip():
        raise SettingsError("no source is named. Give a file, a folder of pictures, a camera or an address.")
    if spec == "-":
        if raw is None:
            raise SettingsError("raw frames do not say their size. Give it as --raw WIDTHxHEIGHT@RATE.")
        return open_raw_frames(raw)
    if raw is not None:
        raise SettingsError(
            "--raw is the size of frames on standard input. Give - as the source, or drop it."
        )
    if isinstance(spec, str) and is_address(spec):
        if rate_hz is not None:
            raise SettingsError("a network stream has a rate of its own. Leave the rate out.")
        return open_network_stream(spec, say)
    if isinstance(spec, str) and (device := camera_device(spec)) is not None:
        return open_camera(device, rate_hz, say)
    if is_address(spec):
        raise VideoError(ADDRESS_FOR_FILE)
    path = Path(spec)
    if is_there(path) and path.is_dir():
        return open_image_folder(path, rate_hz, say)
    if rate_hz is not None:
        raise SettingsError(f"{path} has time stamps of its own. Leave the rate out.")
    return open_video_file(path)
