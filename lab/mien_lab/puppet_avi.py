"""Motion JPEG in an AVI file: BGR frames in, a video that every player reads out.

Written here and not through ``cv2.VideoWriter``, which swallows a full disk without a word, costs
five times as much per frame, and has no H.264 encoder in its wheels. The layout is Microsoft's AVI
RIFF file reference: one ``hdrl`` list, one ``movi`` list of JPEG chunks, one ``idx1`` index.
"""

import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

LARGEST_BYTES: Final = 2**31 - 2**20
"""AVI without extensions ends at 2 GiB for many readers."""
_KEYFRAME: Final = 0x10
_HAS_INDEX: Final = 0x10
_CHUNK: Final = b"00dc"


class MjpegWriter:
    """Writes one video; use it as a context manager, the index is written on leaving.

    Raises
    ------
    OSError
        From any method: the disk is full, the file would pass 2 GiB, or it cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: int, quality: int) -> None:
        self._size = size
        self._rate_hz = rate_hz
        self._quality = [cv2.IMWRITE_JPEG_QUALITY, quality]
        self._lengths: list[int] = []
        self._movie_bytes = len(b"movi")
        self._file = path.open("wb")
        self._file.write(self._header())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                self._file.write(self._index())
                self._file.seek(0)
                self._file.write(self._header())

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one (height, width, 3) BGR frame."""
        data = cv2.imencode(".jpg", frame, self._quality)[1].tobytes()
        chunk = _chunk(_CHUNK, data)
        if self._movie_bytes + len(chunk) > LARGEST_BYTES:
            raise OSError("the video would pass 2 GiB, the most an AVI file holds")
        self._file.write(chunk)
        self._lengths.append(len(data))
        self._movie_bytes += len(chunk)

    def _header(self) -> bytes:
        """Everything before the first frame; the counts are right once the last one is in."""
        width, height = self._size
        frames, largest = len(self._lengths), max(self._lengths, default=0)
        main = struct.pack(
            "<14I", 1_000_000 // self._rate_hz, largest * self._rate_hz, 0, _HAS_INDEX,
            frames, 0, 1, largest, width, height, 0, 0, 0, 0,
        )  # fmt: skip
        stream = b"vidsMJPG" + struct.pack(
            "<IHHIIIIIIII4H",
            0,
            0,
            0,
            0,
            1,
            self._rate_hz,
            0,
            frames,
            largest,
            0xFFFFFFFF,
            0,
            0,
            0,
            width,
            height,
        )
        bitmap = struct.pack(
            "<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0
        )
        streams = _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", bitmap))
        lists = _list(b"hdrl", _chunk(b"avih", main) + streams)
        index_bytes = 8 + 16 * frames
        riff_bytes = 4 + len(lists) + 8 + self._movie_bytes + index_bytes
        riff = b"RIFF" + struct.pack("<I", riff_bytes) + b"AVI "
        return riff + lists + b"LIST" + struct.pack("<I", self._movie_bytes) + b"movi"

    def _index(self) -> bytes:
        offset, entries = len(b"movi"), []
        for length in self._lengths:
            entries.append(_CHUNK + struct.pack("<III", _KEYFRAME, offset, length))
            offset += 8 + length + length % 2
        return _chunk(b"idx1", b"".join(entries))


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _list(name: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", name + content)
