"""What changed since it was last looked: one look at the files and the history for everybody who watches.

Enters: the history and the live files. Leaves: a status, rounds, lines of the log, and whether the lists of
models changed, each with the name that the stream gives it.
"""

import json
import logging
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from mien_common.errors import MienError
from mien_server.facts import EventFacts, RoundFacts, Status
from mien_server.web.dashboard.desk import Desk

MOST_AT_ONCE: Final = 500
"""Lines of the log, or rounds, that one look takes up; the next one goes on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class News:
    """Something for everybody who watches."""

    event: str
    """``round``, ``log`` or ``models``."""
    data: str
    id: int | None = None
    """Of a line of the log."""


class Watch:
    """Looks, again and again; not to be used by two threads at once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._log: int | None = None
        self._run, self._round = "", 0
        self._models: Hashable = None
        self._is_away = False
        self.status: Status | None = None
        """Of the last look; None where there was none."""

    def look(self) -> list[News]:
        """What is new, in order; the first look says nothing, and remembers what there is."""
        found = []
        try:
            self.status = self._desk.moment.status(self._desk.clock())
            is_there = self.status.server.behind_s is not None  # else the history is away
            for news in chain(self._lists(), *((self._rounds(), self._lines()) if is_there else ())):
                found.append(news)  # one by one: what was taken up is told, also when the next question fails
            self._is_away = False
        except MienError as error:
            if not self._is_away:
                log.warning("event=stream_waits reason=%s", error)
            self._is_away = True
        return found

    def _rounds(self) -> Iterator[News]:
        run = self.status.run if self.status else None
        if run is None:
            return
        if not self._run:
            self._run, self._round = run.run, run.rounds_done
        if self._run != run.run:
            yield from self._rounds_of_run()  # the last ones, which came since the last look
            self._run, self._round = run.run, 0
        yield from self._rounds_of_run()

    def _rounds_of_run(self) -> Iterator[News]:
        for round_ in self._desk.history.rounds(self._run, self._round, MOST_AT_ONCE):
            self._round = round_.round
            yield News("round", json_of(round_))

    def _lines(self) -> Iterator[News]:
        if self._log is None:
            self._log = self._desk.history.last_event()
        for line in self._desk.history.events(after=self._log, limit=MOST_AT_ONCE):
            self._log = line.id
            yield line_of(line)

    def _lists(self) -> Iterator[News]:
        state = self._desk.catalogue.state()
        if self._models not in (None, state):
            yield News("models", "{}")
        self._models = state


def line_of(event: EventFacts) -> News:
    """A line of the log."""
    return News("log", json_of(event), event.id)


def json_of(facts: EventFacts | RoundFacts | Status) -> str:
    """Facts on one line; what is not finite is null."""
    return facts.model_dump_json()


def what_matters(status: Status) -> str:
    """A status without what is different at every look."""
    values: dict[str, Any] = status.model_dump(mode="json")
    for name in ("time", "behind_s"):
        del values["server"][name]
    return json.dumps(values)
