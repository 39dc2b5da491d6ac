"""Who else follows the runs' journals: exports for other programs, each at its own pace.

Enters: runs' journals. Leaves: events, handed to a follower one by one, in order. How far each has come is in
``sources``; an event that it was taking when the process died is handed to it again.
"""

import logging
import threading
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import URL, Engine
from sqlalchemy.exc import SQLAlchemyError

from mien_common.errors import InputError, MienError
from mien_server.folder import ServerFolder
from mien_server.history.connection import writer_engine
from mien_server.history.journal_rows import parsed
from mien_server.history.journals import Line, position_at, read_lines, signature
from mien_server.history.sources import Sources
from mien_server.runs.journal import JOURNAL_FILE, Event

LOOK_S: Final = 1.0
PATIENCE_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Pauses after a follower failed; the last one repeats."""

log = logging.getLogger(__name__)


class Follower(Protocol):
    """Something that wants to know of every event of every run."""

    @property
    def name(self) -> str:
        """By which its position is kept."""
        ...

    def take(self, folder: ServerFolder, run: str, event: Event) -> None:
        """Do something with one event; the same one may come twice, after a crash.

        Raises
        ------
        MienError
            It could not be done now. The same event is handed over again after a pause.
        """
        ...

    def close(self) -> None:
        """No more events will come."""
        ...


class Following:
    """One follower's thread: what it cannot do in time holds up nobody else."""

    def __init__(self, url: URL, folder: ServerFolder, follower: Follower) -> None:
        self._url, self._folder, self._follower = url, folder, follower
        self._ended = threading.Event()
        self._seen: dict[str, tuple[int, int, int] | None] = {}
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=follower.name, daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self, patience_s: float) -> None:
        """Follow no more; an event that is being taken is waited for, so long."""
        self._ended.set()
        self._thread.join(patience_s)

    def _run(self) -> None:
        engine = writer_engine(self._url)  # its own: it may be at work when the others have ended
        try:
            self._look_until_ended(engine)
        finally:
            self._follower.close()
            engine.dispose()

    def _look_until_ended(self, engine: Engine) -> None:
        sources: Sources | None = None
        while not self._ended.is_set():
            try:
                sources = sources or Sources(engine)
                self._look(sources)
            except (MienError, SQLAlchemyError) as error:
                sources = None  # what it remembers may be wrong now
                self._seen.clear()
                if not self._failures:
                    log.warning("event=follower_waits name=%s reason=%s", self._follower.name, error)
                self._failures += 1
                self._ended.wait(PATIENCE_S[min(self._failures, len(PATIENCE_S)) - 1])
            else:
                if self._failures:
                    log.info("event=follower_goes_on name=%s", self._follower.name)
                self._failures = 0
                self._ended.wait(LOOK_S)

    def _look(self, sources: Sources) -> None:
        for path in sorted(self._folder.runs.glob(f"[!.]*/{JOURNAL_FILE}")):
            run, files = path.parent.name, signature(path)
            if files != self._seen.get(run):
                self._follow(sources, run, path)
                self._seen[run] = files
            if self._ended.is_set():
                return

    def _follow(self, sources: Sources, run: str, path: Path) -> None:
        """Hand over what is new of one run; no transaction is open meanwhile, for it may take long."""
        name = f"{self._follower.name}:{run}"
        while (reading := read_lines(path, sources.position(name))).lines:
            done = reading.lines[0].at
            try:
                for line in reading.lines:
                    if self._ended.is_set():
                        return
                    self._take(run, line)
                    done = line.end
            finally:
                sources.move(name, position_at(path, done))

    def _take(self, run: str, line: Line) -> None:
        try:
            event = parsed(line.content)
        except InputError:  # of a line that is damaged, the history tells
            return
        self._follower.take(self._folder, run, event)
