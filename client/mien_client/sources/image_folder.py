"""Pictures in a folder, taken as the frames of a recording.

Enters: a folder. Leaves: :class:`~mien_client.frames.Frame`, one at a time, in the natural order of
the names (2 before 10). Never leaves: a pixel, to any disk.
"""

import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mien_common.errors import VideoError

from ..frames import Frame
from .opencv import decode_picture
from .source import LONGEST_S, LONGEST_SIDE, Say

IMAGE_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
DEFAULT_RATE_HZ: Final = 25.0
_FORMATS: Final = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION_TAG: Final = 0x0112
_LYING: Final = frozenset({5, 6, 7, 8})
"""Exif orientations in which height and width change places."""
_LARGEST_BYTES: Final = 512 * 1024 * 1024
_BROKEN_HEADERS: Final = (
    *(OSError, SyntaxError, ValueError, struct.error, TypeError, LookupError, ArithmeticError, EOFError),
)
"""What Pillow raises for headers that make no sense."""


@dataclass(frozen=True)
class ImageFolder:
    """Pictures of a folder, in order; the number of a picture and the rate give its time."""

    path: Path
    height: int
    width: int
    rate_hz: float
    _pictures: tuple[Path | None, ...] = field(repr=False)
    """None where a picture cannot be read: a frame that is missing, not one that never was."""
    _say: Say = field(repr=False)
    live: bool = False

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def expected_frames(self) -> int:
        return len(self._pictures)

    def frames(self) -> Iterator[Frame]:
        """Every picture in order, 8 bits a colour, upright as its camera noted; broken ones leave a gap.

        Raises
        ------
        VideoError
            None of the pictures can be decoded.
        """
        first: int | None = None
        broken = sum(picture is None for picture in self._pictures)
        for number, picture in enumerate(self._pictures):
            if picture is None:
                continue
            bgr = decode_picture(_content(picture))
            if bgr is None or bgr.shape[0] > self.height or bgr.shape[1] > self.width:
                broken += 1
                continue
            first = number if first is None else first
            yield Frame((number - first) / self.rate_hz, bgr)
            bgr[...] = 0
        if first is None:
            raise VideoError(f"{self.path} holds no picture that can be decoded. Copy the pictures again.")
        if broken:
            self._say(
                f"{broken} of {len(self._pictures)} pictures in {self.path} cannot be decoded; "
                "they count as missing frames."
            )


@contextmanager
def open_image_folder(path: Path, rate_hz: float | None, say: Say) -> Iterator[ImageFolder]:
    """Open a folder of pictures.

    Raises
    ------
    VideoError
        The folder cannot be read, holds no picture, or more than a day of them.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of headers that make no sense: counted below
    rate_hz = DEFAULT_RATE_HZ if rate_hz is None else rate_hz
    pictures = images_in(path)
    if not pictures:
        raise VideoError(
            f"{path} holds no pictures. Give a folder of {', '.join(sorted(IMAGE_SUFFIXES))} files."
        )
    if len(pictures) / rate_hz > LONGEST_S:
        raise VideoError(f"{path} holds more than a day of pictures. Cut it into several folders.")
    sizes = [_size(picture) for picture in pictures]
    known = [size for size in sizes if size is not None]
    if not known:
        raise VideoError(f"{path} holds no picture that can be decoded. Copy the pictures again.")
    yield ImageFolder(
        path=path,
        height=max(height for height, _ in known),
        width=max(width for _, width in known),
        rate_hz=rate_hz,
        _pictures=tuple(picture if size else None for picture, size in zip(pictures, sizes, strict=True)),
        _say=say,
    )


def images_in(folder: Path) -> list[Path]:
    """The pictures right in ``folder``, in natural order; hidden files and all others left out.

    Raises
    ------
    VideoError
        The folder cannot be read.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208  # not pathlib: names that are not UTF-8 sort as they are
    except OSError as error:
        raise VideoError(f"{folder} cannot be read: {error.strerror}.") from error
    wanted = [name for name in names if name[0] != "." and Path(name).suffix.lower() in IMAGE_SUFFIXES]
    paths = [folder / name for name in sorted(wanted, key=natural_order)]
    # os.path, because Path.is_file raises where a link leads to a folder that is closed to us.
    return [path for path in paths if os.path.isfile(path)]  # noqa: PTH113


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key that puts ``img10`` behind ``img9``."""
    parts = re.split(r"([0-9]+)", name)
    # Python refuses to read absurdly long numbers; those sort as text.
    return tuple(
        (0, int(part), "") if index % 2 and len(part) < 100 else (1, 0, part.casefold())
        for index, part in enumerate(parts)
    )


def _size(picture: Path) -> tuple[int, int] | None:
    """Height and width by a picture's head, as it stands upright; None where it makes no sense."""
    from PIL import Image

    try:
        with Image.open(picture, formats=_FORMATS) as image:
            width, height = image.size
            lying = image.getexif().get(_ORIENTATION_TAG) in _LYING
    except (*_BROKEN_HEADERS, Image.DecompressionBombError):
        return None
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        return None
    return (width, height) if lying else (height, width)


def _content(picture: Path) -> bytes:
    """The file's bytes; none where it cannot be read, or is larger than any picture."""
    try:
        with picture.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            return file.read(size_bytes) if size_bytes <= _LARGEST_BYTES else b""
    except OSError:
        return b""
