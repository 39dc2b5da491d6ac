"""Features that another program extracted: which CSV files are such, and by which program.

Enters: a CSV file's head. Leaves: the program's name, or None. OpenFace 2 and py-feat are known.
"""

from pathlib import Path
from typing import Final, Literal

Extractor = Literal["openface", "py-feat"]

_HEAD_BYTES: Final = 64 * 1024
"""OpenFace with all its landmarks has 714 columns in about 7 KB of header."""


def extractor_of(columns: list[str]) -> Extractor | None:
    """Which program wrote a CSV file with these columns."""
    names = {name.strip() for name in columns}
    if {"success", "AU12_r"} <= names:
        return "openface"
    if {"AU12", "AU01"} <= names:
        return "py-feat"
    return None


def is_feature_file(path: Path) -> bool:
    """Whether a file is a CSV file of features that can be taken; any other answer is no."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.readline(_HEAD_BYTES)
    except OSError:
        return False
    return extractor_of(head.decode("utf-8-sig", errors="replace").replace('"', "").split(",")) is not None
