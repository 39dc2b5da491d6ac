"""Columns of large CSV files, read in pieces: only those that are wanted are ever in memory.

Enters: a file and the names of columns. Leaves: one array per column.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mien_common.errors import FeatureFileError

_HEAD_BYTES: Final = 256 * 1024
"""OpenFace with all its landmarks has 714 columns in 7 KB of header; py-feat with its mesh 30 KB."""
_PIECE_BYTES: Final = 4 * 1024 * 1024
_MISSING: Final = ["", "nan", "NaN", "NAN", "-nan", "-nan(ind)", "nan(ind)", "NA", "null", "None"]


def header_of(path: Path) -> list[str]:
    """The names in a CSV file's first line, without blanks around them.

    Raises
    ------
    FeatureFileError
        The file cannot be read, or its first line is no CSV header.
    """
    return _header(path)[0]


def _header(path: Path) -> tuple[list[str], int]:
    """Names, and the bytes of the first line with its end."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
            raise FeatureFileError(f"{path} is not a file. Give a CSV file.")
        with path.open("rb") as file:
            line = file.readline(_HEAD_BYTES)
    except OSError as error:
        raise FeatureFileError(f"cannot read {path}: {error.strerror}") from error
    try:
        (names,) = csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], skipinitialspace=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise FeatureFileError(f"{path} does not begin with the header of a CSV file.") from error
    return [name.strip() for name in names], len(line)


def read_columns(path: Path, numbers: Iterable[str], words: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Those of the named columns that the file has.

    Parameters
    ----------
    numbers : columns of numbers, as float64; NaN where a cell is empty or says so.
    words : columns of text, as objects; None where a cell is empty.

    Raises
    ------
    FeatureFileError
        The file cannot be read, a row has another number of cells, or a cell is no number.
    """
    names, header_bytes = _header(path)
    types = {name: pa.float64() for name in numbers} | {name: pa.string() for name in words}
    wanted = {name: kind for name, kind in types.items() if name in names}
    doubled = [name for name in wanted if names.count(name) > 1]
    if doubled:
        raise FeatureFileError(f"{path} has the column {doubled[0]} more than once. Extract it again.")
    try:
        with path.open("rb") as file:
            file.seek(header_bytes)
            return _read(file, names, wanted)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise FeatureFileError(
            f"{path} is damaged, or was not written by an extractor: {reason}. Extract it again."
        ) from error


def _read(file: Any, names: list[str], wanted: dict[str, pa.DataType]) -> dict[str, NDArray[Any]]:
    # Names in a header may repeat, and Arrow wants its own to be told apart: the place of a column will do.
    places = {str(names.index(name)): kind for name, kind in wanted.items()}
    if not file.read(1):
        return {name: np.empty(0, object if kind == pa.string() else float) for name, kind in wanted.items()}
    file.seek(-1, 1)
    reader = pa_csv.open_csv(
        file,
        read_options=pa_csv.ReadOptions(
            column_names=[str(place) for place in range(len(names))],
            block_size=_PIECE_BYTES,
            use_threads=False,
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(places),
            column_types=places,
            null_values=_MISSING,
            strings_can_be_null=True,
        ),
    )
    pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    for batch in reader:
        for name, column in zip(wanted, batch.columns, strict=True):
            pieces[name].append(column.to_numpy(zero_copy_only=False))
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in pieces.items()}
