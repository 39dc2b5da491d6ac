"""CSV as research releases have it: ``;`` or ``,`` or tabs, blanks in names, quotes, any line ends.

Enters: a file's bytes. Leaves: a :class:`~mien_lab.corpora.table.Table`. Decimal commas are refused: in one
release ``0,25`` is a quarter and in another two cells, and a wrong guess would not be noticed.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from mien_common.errors import InputError

from .table import Table

MISSING: Final = ("", "?", "nan", "NaN", "NAN", "-nan", "-nan(ind)", "nan(ind)", "NA", "N/A", "null", "None")
_WORD_COLUMNS: Final = frozenset(("name", "instance_name", "file", "filename", "recording", "participant"))
"""Columns that say whose row it is; AVEC's begin with one."""
_DECIMAL_COMMA: Final = re.compile(r"\s*[+-]?\d+,\d+\s*")


def parse_delimited(path: Path, content: bytes) -> Table:
    """The table in the content of a CSV file whose first line names its columns.

    Raises
    ------
    InputError
        The first line is no header, a name is there twice, a row has another number of cells, or a cell
        is no number; the message names line and column.
    """
    content = content.lstrip(b"\r\n")
    first = re.split(rb"\r\n|\n|\r", content, maxsplit=1)[0]
    separator, names = _header(path, first)
    return table_from_rows(path, content[len(first) :].lstrip(b"\r\n"), names, separator, first_line=2)


def _header(path: Path, first: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        text = first.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8. Save it as CSV in UTF-8.") from error
    separator = next((each for each in ";\t," if each in text), ",")
    (cells,) = csv.reader([text], delimiter=separator, skipinitialspace=True)
    names = [cell.strip() for cell in cells]
    if all(_is_number(name) for name in names):
        raise InputError(f"{path}, line 1: numbers where the names of the columns should be. Add a header.")
    return separator, tuple(names)


def table_from_rows(
    path: Path,
    rows: bytes,
    names: tuple[str, ...],
    separator: str,
    *,
    first_line: int,
    words: frozenset[str] | None = None,
    quote: str = '"',
) -> Table:
    """The table whose rows these are.

    Parameters
    ----------
    first_line : the number of the first row's line in its file, for messages.
    words : columns of text; None: those whose name says so.
    """
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise InputError(f"{path} has the column {doubled[0]} more than once. Rename one of them.")
    if words is None:
        words = frozenset(name for name in names if name.lower() in _WORD_COLUMNS)
    # A separator at the end of each line makes a last column without a name.
    kept = [place for place, name in enumerate(names) if name or place < len(names) - 1]
    numbers = [place for place in kept if names[place] not in words]
    try:
        table = _parsed(rows, len(names), separator, quote, {p for p in kept if names[p] in words}, kept)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        _blame(path, rows, names, separator, quote, words, first_line)
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"{path} cannot be read as CSV: {reason}.") from error
    values = np.empty((table.num_rows, len(numbers)))
    for column, place in enumerate(numbers):
        values[:, column] = table.column(str(place)).to_numpy()
    if not len(values):
        raise InputError(f"{path} holds no rows.")
    infinite = np.argwhere(np.isinf(values))
    if infinite.size:
        row, column = infinite[0]
        raise InputError(f"{path}, row {row + 1}, column {names[numbers[column]]}: an infinite number.")
    said = {
        names[p]: tuple(map(str, table.column(str(p)).unique().to_pylist())) for p in kept if p not in numbers
    }
    return Table(path, tuple(names[place] or "(no name)" for place in numbers), values, said)


def _parsed(
    rows: bytes, columns: int, separator: str, quote: str, words: set[int], kept: list[int]
) -> pa.Table:
    types = {str(place): pa.string() if place in words else pa.float64() for place in kept}
    if not rows.strip():
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    return pa_csv.read_csv(
        pa.BufferReader(rows),
        read_options=pa_csv.ReadOptions(column_names=[str(place) for place in range(columns)]),
        parse_options=pa_csv.ParseOptions(delimiter=separator, quote_char=quote),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=list(MISSING),
            strings_can_be_null=False,
        ),
    )


def _blame(
    path: Path,
    rows: bytes,
    names: tuple[str, ...],
    separator: str,
    quote: str,
    words: frozenset[str],
    first_line: int,
) -> None:
    """Find the first cell that is wrong, and say what to do; nothing when there is none."""
    for number, cells in _numbered(rows, separator, quote, first_line):
        if len(cells) != len(names):
            hint = " Decimal commas?" if separator == "," and len(cells) > len(names) else ""
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells where the header has {len(names)}.{hint}"
            )
        for name, cell in zip(names, cells, strict=True):
            text = cell.strip()
            if not name or name in words or text in MISSING or _is_number(text):
                continue
            if _DECIMAL_COMMA.fullmatch(text):
                raise InputError(
                    f"{path}, line {number}, column {name}: {text} has a decimal comma. "
                    "Save the file with decimal points."
                )
            raise InputError(f"{path}, line {number}, column {name}: {text[:40]!r} is not a number.")


def _numbered(rows: bytes, separator: str, quote: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        rows.decode(errors="replace").splitlines(),
        delimiter=separator,
        quotechar=quote,
        skipinitialspace=True,
    )
    for cells in reader:
        if cells:
            yield first_line - 1 + reader.line_num, cells


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
