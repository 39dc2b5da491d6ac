"""Journals as files that grow: the whole lines since last time, and whether it is still the same file.

Enters: a file and how far it was read. Leaves: its new lines, each with the byte it begins at.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from mien_common.errors import InputError

CHUNK_BYTES: Final = 1024 * 1024
"""How much is read at once: what is taken up in one transaction."""
MARK_BYTES: Final = 256
"""How many bytes, the first and the last that were read, tell this file from another one."""


@dataclass(frozen=True)
class Position:
    """How far a journal was read."""

    bytes: int = 0
    head: str = ""
    """SHA-256 of its first bytes, at most :data:`MARK_BYTES`."""
    tail: str = ""
    """Of the last ones that were read, likewise."""


@dataclass(frozen=True)
class Line:
    """One line, without its end."""

    at: int
    """The byte it begins at."""
    content: bytes

    @property
    def end(self) -> int:
        """The byte that the next one begins at."""
        return self.at + len(self.content) + 1


@dataclass(frozen=True)
class Reading:
    """What is new in a journal."""

    lines: tuple[Line, ...]
    position: Position
    """How far it is read with these."""
    is_anew: bool
    """It was cut, or another file is in its place: the lines begin with its first one."""
    is_more: bool
    """More can be read at once."""


def read_lines(path: Path, position: Position, one: bool = False) -> Reading:
    """The whole lines after ``position``, a chunk of them; none of a file that is not there.

    Of a file that is read anew, all: that is to be one transaction. With ``one``, a single line.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _read(file, position, one)
    except FileNotFoundError:
        return Reading((), position, False, False)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def position_at(path: Path, read_bytes: int) -> Position:
    """The position of who has read so much of ``path``.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return Position(read_bytes, *_marks(file, read_bytes))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does, without opening it; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(file: BinaryIO, position: Position, one: bool) -> Reading:
    size = os.fstat(file.fileno()).st_size
    is_anew = size < position.bytes or _marks(file, position.bytes) != (position.head, position.tail)
    start = 0 if is_anew else position.bytes
    file.seek(start)
    content = file.read() if is_anew and not one else file.read(CHUNK_BYTES)
    while b"\n" not in content and (more := file.read(len(content) or 1)):
        content += more  # a line longer than that
    end = content.find(b"\n") if one else content.rfind(b"\n")
    whole = content[: end + 1]
    lines, at = [], start
    for line in whole.split(b"\n")[:-1]:
        lines.append(Line(at, line))
        at += len(line) + 1
    return Reading(tuple(lines), Position(at, *_marks(file, at)), is_anew, bool(whole) and at < size)


def _marks(file: BinaryIO, read_bytes: int) -> tuple[str, str]:
    if not read_bytes:
        return "", ""
    length = min(MARK_BYTES, read_bytes)
    file.seek(0)
    head = file.read(length)
    file.seek(read_bytes - length)
    return hashlib.sha256(head).hexdigest(), hashlib.sha256(file.read(length)).hexdigest()
