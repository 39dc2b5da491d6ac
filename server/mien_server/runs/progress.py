"""How far the round is that goes on now: who was asked, who has answered; for whoever watches.

Enters: from the ServerApp, at every step. Leaves: ``runs/RUN/progress.json``, replaced whole. It is the state
of this moment and no history: nothing reads it to go on with a run, and losing it loses nothing, so it is not
forced onto the disk. A run that ends removes it, and one that is killed leaves it behind: so whoever reads it
asks first whether the run goes on.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from mien_common.errors import InputError, StorageError
from mien_common.files import read_bounded, storage_errors
from mien_server.facts import Phase
from mien_server.runs.clock import Clock

PROGRESS_FILE: Final = "progress.json"
PROGRESS_LIMIT_BYTES: Final = 16 * 1024 * 1024

PHASES_AT_ONCE: Final = 4
"""A round's phases: none is left out, unless rounds follow one another faster than anybody reads."""
WRITES_PER_S: Final = 2.0
"""Of phases, and as often of news within them, however many sites there are."""

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
    missing: tuple[str, ...] = ()
    """While it waits: sites that were there before the run was interrupted, and are not yet."""


class LiveProgress:
    """Keeps ``progress.json`` of the run in ``run``, at a bounded rate.

    Parameters
    ----------
    clock, now : passed in for tests.
    """

    def __init__(
        self,
        run: Path,
        clock: Clock,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._run = run
        self._clock, self._now = clock, now
        self._phases = _Allowance(PHASES_AT_ONCE, clock.monotonic())
        self._news = _Allowance(1, clock.monotonic())
        self._moment: Progress | None = None
        self._is_told = True
        self._is_hindered = False

    def begin(
        self,
        phase: Phase,
        round_: int,
        attempt: int,
        limit_s: float | None = None,
        online: Iterable[str] = (),
        asked: Iterable[str] = (),
        answered: Iterable[str] = (),
        failed: Mapping[str, str] | None = None,
        missing: Iterable[str] = (),
    ) -> None:
        """A phase begins now, and lasts at most ``limit_s``."""
        now = self._now()
        deadline = None if limit_s is None else now + dt.timedelta(seconds=limit_s)
        self._moment = Progress(
            round=round_,
            attempt=attempt,
            phase=phase,
            since=now.isoformat(timespec="milliseconds"),
            deadline=None if deadline is None else deadline.isoformat(timespec="milliseconds"),
            online=tuple(sorted(online)),
            asked=tuple(sorted(asked)),
            answered=tuple(sorted(answered)),
            failed=dict(sorted((failed or {}).items())),
            missing=tuple(sorted(missing)),
        )
        self._is_told = False
        if self._phases.take(self._clock.monotonic()):
            self._tell(self._moment)

    def present(self, online: Iterable[str], missing: Iterable[str]) -> None:
        """Who is there by now, and who is missing; to be called often, and dear only where there is news."""
        self._renew({"online": tuple(sorted(online)), "missing": tuple(sorted(missing))})

    def answers(self, answered: Iterable[str], failed: Mapping[str, str]) -> None:
        """Likewise: who has answered by now, and who failed."""
        self._renew({"answered": tuple(sorted(answered)), "failed": dict(sorted(failed.items()))})

    def end(self) -> None:
        """Nothing goes on any more."""
        self._moment = None
        try:
            with storage_errors(self._run / PROGRESS_FILE):
                (self._run / PROGRESS_FILE).unlink(missing_ok=True)
        except StorageError as error:
            log.warning("event=progress_not_removed reason=%s", error)

    def _renew(self, news: dict[str, Any]) -> None:
        if self._moment is None:
            return
        moment = self._moment.model_copy(update=news)
        self._is_told &= moment == self._moment
        self._moment = moment
        if not self._is_told and self._news.take(self._clock.monotonic()):
            self._tell(moment)

    def _tell(self, moment: Progress) -> None:
        self._is_told = True
        try:
            write_progress(self._run, moment)
        except StorageError as error:  # a disk that is full is no reason to end a run
            if not self._is_hindered:
                log.warning("event=progress_not_written reason=%s", error)
            self._is_hindered = True
        else:
            self._is_hindered = False


def write_progress(run: Path, progress: Progress) -> None:
    """Replace what is known of this moment. One process at a time does: it holds the run's journal.

    Raises
    ------
    StorageError
        The disk is full or read-only.
    """
    file, draft = run / PROGRESS_FILE, run / f".{PROGRESS_FILE}"
    with storage_errors(file):
        draft.write_bytes(progress.model_dump_json().encode() + b"\n")
        draft.replace(file)


def read_progress(run: Path) -> Progress | None:
    """The last moment that was written; None where there is none, or none that can be read."""
    try:
        return Progress.model_validate_json(read_bounded(run / PROGRESS_FILE, PROGRESS_LIMIT_BYTES))
    except (InputError, ValidationError):
        return None


class _Allowance:
    """So many at once, and :data:`WRITES_PER_S` in the long run."""

    def __init__(self, at_once: int, now: float) -> None:
        self._most = self._left = float(at_once)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed."""
        self._left = min(self._most, self._left + (now - self._at) * WRITES_PER_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
