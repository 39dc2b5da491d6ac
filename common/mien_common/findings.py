"""What ``mien agent doctor`` and ``mien server doctor`` find: one line per check, and how to mend it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    """What was looked at, in a word or two."""
    state: State
    found: str
    remedy: str = ""
    """What to do; empty where all is well."""

    def __str__(self) -> str:
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{self.state:<8} {self.check:<16} {self.found}{remedy}"


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """It works, but not for long, or not as it might."""
    return Finding(check, "warning", found, remedy)


def fault(check: str, found: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, "fault", found, remedy)


def as_json_text(findings: Iterable[Finding]) -> str:
    """All of them, for programs."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)
