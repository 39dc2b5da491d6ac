"""CSV as research releases have it: ``;`` or ``,`` or tabs, blanks in names, quotes, any line ends.

Enters: a file's bytes. Leaves: a :class:`~mien_lab.corpora.table.Table`. Decimal commas are refused: in one
release ``0,25`` is a quarter and in another two cells, and a wrong guess would not be noticed.
"""

import csv
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mien_common.errors import InputError

from .table import Table

MISSING: Final = ("", "?", "nan", "NaN", "NAN", "-nan", "-nan(ind)", "nan(ind)", "NA", "N/A", "null", "None")
NAMELESS: Final = "(no name)"
"""A column whose cell in the header is empty."""
_WORD_COLUMNS: Final = frozenset(("name", "instance_name", "file", "filename", "recording", "participant"))
"""Columns that say whose row it is; AVEC's begin with one."""
_LARGEST: Final = float(np.finfo(np.float32).max)
"""Features are kept in single precision, in which a larger number would be none."""
_DECIMAL_COMMA: Final = re.compile(r"\s*[+-]?\d+,\d+\s*")


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are to be read."""

    path: Path
    names: tuple[str, ...]
    """Of all columns."""
    separator: str
    first_line: int
    """The number of the first row's line in its file, for messages."""
    words: frozenset[str]
    """Columns of text."""
    quote: str = '"'

    @property
    def kept(self) -> list[int]:
        """Places of columns; a separator at the end of each line makes a last one without a name."""
        return [place for place, name in enumerate(self.names) if name or place < len(self.names) - 1]


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
    words = frozenset(name for name in names if name.lower() in _WORD_COLUMNS)
    rows = content[len(first) :].lstrip(b"\r\n")
    return table_from_rows(Layout(path, names, separator, 2, words), rows)


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


def table_from_rows(layout: Layout, rows: bytes) -> Table:
    """The table whose rows these are.

    Raises
    ------
    InputError
        A name is there twice, there is no row, a row has another number of cells, or a cell is no number.
    """
    path, names = layout.path, layout.names
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise InputError(f"{path} has the column {doubled[0]} more than once. Rename one of them.")
    try:
        values, said = _at_once(layout, rows)
    except pa.ArrowException:
        # Arrow does not say where it stopped, and takes no " " or "+0.5".
        values, said = _row_by_row(layout, rows)
    if not len(values):
        raise InputError(f"{path} holds no rows.")
    columns = tuple(names[place] or NAMELESS for place in layout.kept if names[place] not in layout.words)
    infinite = np.argwhere(np.abs(values) > _LARGEST)
    if infinite.size:
        row, column = infinite[0]
        raise InputError(
            f"{path}, row {row + 1}, column {columns[column]}: an infinite number, or one too large "
            "for single precision."
        )
    return Table(path, columns, values, said)


def _at_once(layout: Layout, rows: bytes) -> tuple[NDArray[np.float64], dict[str, tuple[str, ...]]]:
    """Values of the columns of numbers, and the different words in those of text."""
    names = layout.names
    types = {
        str(place): pa.string() if names[place] in layout.words else pa.float64() for place in layout.kept
    }
    if not rows or rows.isspace():
        return np.empty((0, len(types))), {}
    table = pa_csv.read_csv(
        pa.BufferReader(rows),
        read_options=pa_csv.ReadOptions(column_names=[str(place) for place in range(len(names))]),
        parse_options=pa_csv.ParseOptions(delimiter=layout.separator, quote_char=layout.quote),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=list(MISSING),
            strings_can_be_null=False,
        ),
    )
    numbers = [table.column(name).to_numpy() for name, kind in types.items() if kind == pa.float64()]
    said = {
        names[int(name)]: tuple(map(str.strip, table.column(name).unique().to_pylist()))
        for name, kind in types.items()
        if kind == pa.string()
    }
    return np.stack(numbers, axis=1) if numbers else np.empty((table.num_rows, 0)), said


def _row_by_row(layout: Layout, rows: bytes) -> tuple[NDArray[np.float64], dict[str, tuple[str, ...]]]:
    """The same, slowly, and with the line and column of the first cell that is wrong."""
    path, names, kept = layout.path, layout.names, layout.kept
    numbers = array("d")
    said: dict[str, dict[str, None]] = {names[place]: {} for place in kept if names[place] in layout.words}
    for line, cells in _numbered(layout, rows):
        if len(cells) != len(names):
            hint = " Decimal commas?" if layout.separator == "," and len(cells) > len(names) else ""
            raise InputError(
                f"{path}, line {line}: {len(cells)} cells where the header has {len(names)}.{hint}"
            )
        for place in kept:
            if names[place] in said:
                said[names[place]][cells[place].strip()] = None
            else:
                numbers.append(_number(f"{path}, line {line}, column {names[place]}", cells[place].strip()))
    columns = len(kept) - len(said)
    values = np.frombuffer(numbers).reshape(-1, columns) if numbers else np.empty((0, columns))
    return values, {name: tuple(distinct) for name, distinct in said.items()}


def _number(where: str, cell: str) -> float:
    if cell in MISSING:
        return np.nan
    if _is_number(cell):
        return float(cell)
    if _DECIMAL_COMMA.fullmatch(cell):
        raise InputError(f"{where}: {cell} has a decimal comma. Save the file with decimal points.")
    raise InputError(f"{where}: {cell[:40]!r} is not a number.")


def _numbered(layout: Layout, rows: bytes) -> Iterator[tuple[int, list[str]]]:
    """Rows with the numbers of their lines, empty ones left out."""
    reader = csv.reader(
        re.split(r"\r\n|\n|\r", rows.decode(errors="replace")),
        delimiter=layout.separator,
        quotechar=layout.quote,
        skipinitialspace=True,
    )
    try:
        for cells in reader:
            if any(cells):
                yield layout.first_line - 1 + reader.line_num, cells
    except csv.Error as error:
        line = layout.first_line - 1 + reader.line_num
        raise InputError(f"{layout.path}, line {line}: {error}.") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
