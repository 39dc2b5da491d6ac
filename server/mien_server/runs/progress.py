"""How far the round is that goes on now: who was asked, who has answered; for whoever watches.

Enters: from the ServerApp, at every step. Leaves: ``runs/RUN/progress.json``, replaced whole. It is the state
of this moment and no history: nothing reads it to go on with a run, and losing it loses nothing.
"""

import logging
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from mien_common.errors import InputError, StorageError
from mien_common.files import read_bounded, write_atomic
from mien_server.facts import Phase

PROGRESS_FILE: Final = "progress.json"
PROGRESS_LIMIT_BYTES: Final = 16 * 1024 * 1024

log = logging.getLogger(__name__)


class Progress(BaseModel):
    """One moment of a round. Times are UTC, ISO 8601."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int
    attempt: int
    phase: Phase
    since: str
    deadline: str | None
    """When the phase ends at the latest."""
    online: tuple[str, ...]
    asked: tuple[str, ...]
    answered: tuple[str, ...] = ()
    failed: dict[str, str] = {}


def write_progress(run: Path, progress: Progress) -> None:
    """Replace what is known of this moment; a disk that is full is no reason to end a run."""
    try:
        write_atomic(run / PROGRESS_FILE, progress.model_dump_json().encode() + b"\n")
    except StorageError as error:
        log.warning("event=progress_not_written reason=%s", error)


def read_progress(run: Path) -> Progress | None:
    """The last moment that was written; None where there is none, or none that can be read."""
    try:
        return Progress.model_validate_json(read_bounded(run / PROGRESS_FILE, PROGRESS_LIMIT_BYTES))
    except (InputError, ValidationError):
        return None
