"""ARFF (Weka's attribute-relation files) as AVEC releases have it: numbers, and a column of names.

Enters: a file's bytes. Leaves: a :class:`~mien_lab.corpora.table.Table`. SciPy's reader refuses string
attributes, which every AVEC file begins with. Sparse rows and relations are refused.
"""

import re
from pathlib import Path
from typing import Final

from mien_common.errors import InputError

from .delimited import Layout, table_from_rows
from .table import Table

_LONGEST_HEADER: Final = 4 * 1024 * 1024
_DATA: Final = re.compile(rb"^[ \t]*@data[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_ATTRIBUTE: Final = re.compile(
    r"""\s*@attribute\s+(?:'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>[^"]*)"|(?P<plain>[^\s{]+))\s*(?P<kind>\S.*)""",
    re.IGNORECASE,
)
_NUMBERS: Final = frozenset(("numeric", "real", "integer"))


def parse_arff(path: Path, content: bytes) -> Table:
    """The table in the content of an ARFF file.

    Raises
    ------
    InputError
        There is no ``@data``, an attribute cannot be read or is of neither numbers nor text, a row is
        sparse or has another number of cells, or a cell is no number.
    """
    found = _DATA.search(content, 0, _LONGEST_HEADER)
    if found is None:
        raise InputError(f"{path} has no line @data: it is no ARFF file, or was cut off.")
    names, words = _attributes(path, content[: found.start()])
    rows = content[found.end() :].lstrip(b"\r\n")
    first_line = content.count(b"\n", 0, len(content) - len(rows)) + 1
    if b"%" in rows:
        lines = rows.split(b"\n")  # emptied and not taken out, so that line numbers stay right
        rows = b"\n".join(b"" if line.lstrip().startswith(b"%") else line for line in lines)
    head = rows.lstrip().split(b"\n", 1)[0]
    if head.startswith(b"{"):
        raise InputError(f"{path} has sparse rows ({{index value, …}}). Save it as a dense ARFF file.")
    separator = "," if b"," in head or b"\t" not in head else "\t"
    quote = '"' if b'"' in head else "'"
    return table_from_rows(Layout(path, names, separator, first_line, words, quote), rows)


def _attributes(path: Path, header: bytes) -> tuple[tuple[str, ...], frozenset[str]]:
    names, words = [], set()
    for number, line in enumerate(header.decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip().lower().startswith("@attribute"):
            continue
        parsed = _ATTRIBUTE.fullmatch(line.rstrip())
        if parsed is None:
            raise InputError(
                f"{path}, line {number}: {line.strip()[:60]!r} is no attribute with a name and a type."
            )
        name = next(
            text for text in (parsed["single"], parsed["double"], parsed["plain"]) if text is not None
        )
        kind = parsed["kind"].split()[0].lower()
        if kind == "relational":
            raise InputError(
                f"{path}, line {number}: a relational attribute; only numbers and names are read."
            )
        if kind not in _NUMBERS:
            if kind not in ("string", "date") and not kind.startswith("{"):
                raise InputError(
                    f"{path}, line {number}: attribute {name} has the unknown type {kind[:30]!r}."
                )
            words.add(name.strip())
        names.append(name.strip())
    if not names:
        raise InputError(f"{path} has no @attribute.")
    return tuple(names), frozenset(words)
