"""Versions of releases: semantic versions (semver.org, 2.0.0), parsed strictly and ordered.

They become names of folders and parts of addresses, so nothing else is let through: no path, no build
metadata.
"""

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Final

from mien_common.errors import InputError

LONGEST: Final = 64

_NUMBER: Final = r"(0|[1-9][0-9]{0,8})"
_IDENTIFIER: Final = r"(?:0|[1-9][0-9]{0,8}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
_PATTERN: Final = re.compile(_VERSION, re.ASCII)

VERSION_PATTERN: Final = f"^{_VERSION}$"
"""The same for schemas; what matches and is no longer than ``LONGEST`` is a version."""


@total_ordering
@dataclass(frozen=True)
class ReleaseVersion:
    """One version; ``<`` is semver's precedence, in which 1.0.0-rc.1 comes before 1.0.0."""

    major: int
    minor: int
    patch: int
    before: tuple[str, ...] = ()
    """Identifiers of a pre-release, as in ``rc.1``; none for a release proper."""

    @property
    def is_preview(self) -> bool:
        """Whether this is a pre-release."""
        return bool(self.before)

    def next_minor(self) -> "ReleaseVersion":
        """The version that a newly promoted model gets unless its operator says otherwise."""
        return ReleaseVersion(self.major, self.minor + 1, 0)

    def __str__(self) -> str:
        numbers = f"{self.major}.{self.minor}.{self.patch}"
        return f"{numbers}-{'.'.join(self.before)}" if self.before else numbers

    def __lt__(self, other: "ReleaseVersion") -> bool:
        return self._precedence() < other._precedence()

    def _precedence(self) -> tuple[object, ...]:
        identifiers = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.before)
        return (self.major, self.minor, self.patch, not self.before, identifiers)


def parse_version(text: str) -> ReleaseVersion:
    """The version that ``text`` is.

    Raises
    ------
    InputError
        It is none.
    """
    found = _PATTERN.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise InputError(
            f"{text[:LONGEST]!r} is not the version of a release. Give three numbers with dots, like 1.0.0, "
            "for a trial with a word after a dash, like 1.1.0-rc.1."
        )
    before = tuple(found[4].split(".")) if found[4] else ()
    return ReleaseVersion(int(found[1]), int(found[2]), int(found[3]), before)
