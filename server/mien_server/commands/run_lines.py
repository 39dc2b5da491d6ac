"""A run in words for the person who looks at it."""

from typing import TYPE_CHECKING

from .event_lines import number, when

if TYPE_CHECKING:  # else every command, and the listener for releases, would load NumPy and Flower
    from mien_server.runs.record import RunRecord


def figures(record: "RunRecord") -> str:
    """CCC after the last round, where there is one."""
    values = "  ".join(f"{target} {number(value)}" for target, value in record.ccc.items())
    return f"CCC (pooled) {values}  " if values else ""


def state_in_words(record: "RunRecord") -> str:
    """What it waits for, or why it ended."""
    if record.state == "waiting":
        parts = [f"starts at {when(record.not_before.isoformat())}"] if record.not_before else []
        parts += [f"behind {', '.join(record.behind)}"] if record.behind else []
        return "; ".join(parts)
    return record.reason
