"""Text as LaTeX sets it: every sign that LaTeX would act on is escaped."""

import re
from typing import Final

_SIGNS: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "µ": r"$\mu$",
    "ε": r"$\varepsilon$",
    "δ": r"$\delta$",
    "σ": r"$\sigma$",
    "ρ": r"$\rho$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
}
# Letters that LaTeX's first encoding, OT1, cannot set, as their nearest that it can.
_NEAREST: Final = str.maketrans(
    {
        **dict(zip("ÐðĄąĐđĘęĦħĮįĸĿŀŊŋŦŧŲųſ", "DdAaDdEeHhIikLlNnTtUus", strict=True)),
        "Þ": "Th",
        "þ": "th",
        "ŉ": "'n",
    }
)
_PLAIN: Final = re.compile(r"[\x20-\x7e\u00c0-\u017f]")
"""What LaTeX's own fonts have: ASCII, and most letters of European languages."""


def escaped(text: str) -> str:
    """``text`` as it is to be read; a letter that LaTeX's fonts lack is a question mark."""
    words = " ".join(text.split()).translate(_NEAREST)
    return "".join(_SIGNS.get(sign) or (sign if _PLAIN.match(sign) else "?") for sign in words)


def latex_cell(text: str, bold: bool) -> str:
    """A table cell; bold signs of mathematics too."""
    return rf"\textbf{{\boldmath {escaped(text)}}}" if bold and text else escaped(text)
