"""What a site says in its own words, made fit for a terminal, a log and a page.

Enters: text that was written at a site, which may be hostile: no command to a terminal, no second line in a
log, and no kilometre of it must come out.
"""

from typing import Final

REASON_LIMIT: Final = 300


def printable(text: str, limit: int = REASON_LIMIT) -> str:
    """The first ``limit`` characters of ``text``, a space in the place of each that does not simply print."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:limit])
