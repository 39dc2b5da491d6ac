"""A file of numbers as a table: CSV with any usual separator, or ARFF.

Enters: a path. Leaves: named columns of float64, NaN where a cell is empty; what is text is only counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import InputError
from mien_common.files import is_there, read_bounded

LARGEST_BYTES: Final = 512 * 1024 * 1024
"""Five minutes of AVEC's 632 geometric features are 50 MB."""
SUFFIXES: Final = (".csv", ".arff", ".txt")


@dataclass(frozen=True)
class Table:
    """What a file holds."""

    path: Path
    columns: tuple[str, ...]
    """Names of the columns of numbers, without blanks around them."""
    values: NDArray[np.float64]
    """(rows, columns); NaN where a cell is empty or says that a number is missing."""
    words: Mapping[str, tuple[str, ...]]
    """Of each column of text, the different words in it."""


def read_table(path: Path) -> Table:
    """The table in a CSV or ARFF file, told apart by the file's ending.

    Raises
    ------
    InputError
        The file cannot be read, is too large, or is damaged; the message names the line.
    """
    from .arff import parse_arff
    from .delimited import parse_delimited

    content = content_of(path)
    return parse_arff(path, content) if path.suffix.lower() == ".arff" else parse_delimited(path, content)


def content_of(path: Path) -> bytes:
    """A file's bytes, without a byte-order mark.

    Raises
    ------
    InputError
        It is missing, no file, empty, or larger than :data:`LARGEST_BYTES`.
    """
    if not is_there(path):
        raise InputError(f"{path} is not there.")
    if not path.is_file():  # a pipe would be waited for, for ever
        raise InputError(f"{path} is not a file.")
    if path.stat().st_size > LARGEST_BYTES:
        raise InputError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB. Give one file per recording.")
    content = read_bounded(path, LARGEST_BYTES).removeprefix(b"\xef\xbb\xbf")
    if not content or content.isspace():
        raise InputError(f"{path} is empty.")
    if b"\0" in content[:4096]:
        raise InputError(f"{path} is not a text file. Save it as CSV in UTF-8.")
    return content
