"""When certificates and keys end, and whether that is soon: the same thirty days everywhere."""

import datetime as dt
from pathlib import Path
from typing import Final

from mien_common.site_keys import KEY_DAYS

SOON: Final = dt.timedelta(days=30)


def ends_soon(end: dt.datetime, now: dt.datetime) -> bool:
    """Whether it ends within thirty days, or has ended."""
    return end - now < SOON


def days_left(end: dt.datetime, now: dt.datetime) -> str:
    """How long it holds, for a message: ``ends in 12 days, on 2027-01-02``, or ``ended on …``."""
    days = (end - now).days
    day = f"{end:%Y-%m-%d}"
    if end <= now:
        return f"ended on {day}"
    return f"ends today, {day}" if days == 0 else f"ends in {days} day{'s' * (days != 1)}, on {day}"


def key_end(since: dt.datetime) -> dt.datetime:
    """When a key made at ``since`` should have been changed."""
    return since + dt.timedelta(days=KEY_DAYS)


def written_at(file: Path) -> dt.datetime:
    """When a file was last written."""
    return dt.datetime.fromtimestamp(file.stat().st_mtime, dt.UTC)
