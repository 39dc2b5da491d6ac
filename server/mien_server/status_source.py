"""How the server stands, for the terminal: from its history, or from its files alone while there is none.

Enters: the server's folder. Leaves: a moment after another, without a login and without a server.
"""

import datetime as dt
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import URL

from mien_common.errors import MienError, StorageError, TrustError
from mien_server.certificates import ending_soon
from mien_server.facts import RoundFacts, RunFacts, Status
from mien_server.folder import ServerFolder
from mien_server.history.connection import SQLITE, history_url
from mien_server.history.reader import History
from mien_server.membership.standing import nodes_now
from mien_server.status import read_status

if TYPE_CHECKING:
    from mien_server.control import NodeStanding

RETRY: Final = dt.timedelta(seconds=10)
"""How long a database that did not answer is left alone: each question may cost its patience."""
NODES: Final = dt.timedelta(seconds=2)
"""How often the SuperLink is asked who is there, where no history tells."""


@dataclass(frozen=True)
class Moment:
    """All of one moment."""

    status: Status
    rounds: list[RoundFacts]
    """Of ``status.run``."""
    warnings: list[str]
    """What the operator should know besides, and do something about."""

    @property
    def news(self) -> object:
        """Equal for two moments between which nothing happened but time."""
        now, server = self.status.now, self.status.server
        return self.status.model_copy(
            update={
                "server": server.model_copy(update={"time": "", "behind_s": None}),
                "sites": tuple(site.model_copy(update={"last_seen": None}) for site in self.status.sites),
                "now": now and now.model_copy(update={"in_words": "", "left_s": None, "awaits": ()}),
            }
        ), tuple(self.warnings)


class StatusSource:
    """Reads ``folder`` as often as it is asked to; a context manager, for what it may have to keep meanwhile.

    Raises
    ------
    SettingsError
        The URL of the history is none.
    """

    def __init__(self, folder: ServerFolder) -> None:
        self._folder = folder
        self._history = History(history_url(folder))
        self._held = ExitStack()
        self._stand_in: _StandIn | None = None
        self._problem = ""
        self._next_try: dt.datetime | None = None
        self._rounds: list[RoundFacts] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        self._history.close()

    def read(self, now: dt.datetime) -> Moment:
        """How it stands.

        Raises
        ------
        MienError
            Not even the files can be read.
        """
        if self._next_try is None or now >= self._next_try:
            try:
                moment = self._moment(self._history, now, [])
            except StorageError as error:
                self._problem, self._next_try = str(error), now + RETRY
            else:
                self._next_try = self._stand_in = None
                self._held.close()
                return moment
        if self._stand_in is None:
            place = self._held.enter_context(TemporaryDirectory(prefix="mien-status-"))
            self._stand_in = _StandIn(self._folder, Path(place), now, self._held)
        warnings = [f"{self._problem} What follows was read from the server's files."]
        return self._moment(self._stand_in.history(now), now, warnings)

    def _moment(self, history: History, now: dt.datetime, warnings: list[str]) -> Moment:
        status = read_status(self._folder, history, now)
        self._read_rounds(history, status.run)
        return Moment(status, self._rounds, [*warnings, *_endings(self._folder, now)])

    def _read_rounds(self, history: History, run: RunFacts | None) -> None:
        """Those that are new: a run may have a million."""
        if run is None or (self._rounds and self._rounds[-1].run != run.run):
            self._rounds = []
        last = self._rounds[-1].round if self._rounds else 0
        while run is not None and (new := history.rounds(run.run, after=last)):
            self._rounds = [*self._rounds, *new]
            last = new[-1].round


class _StandIn:
    """A history of our own, made of the folder's files as the recorder makes the real one."""

    def __init__(self, folder: ServerFolder, place: Path, now: dt.datetime, held: ExitStack) -> None:
        from mien_server.history.connection import writer_engine
        from mien_server.history.intake import Intake
        from mien_server.history.recorder import Keeper
        from mien_server.history.revisions import prepare

        url = URL.create(SQLITE, database=str(place / "history.db"))
        engine = writer_engine(url)
        held.callback(engine.dispose)
        prepare(engine, url, folder, now)
        Intake(engine, folder).look(now)  # before presence begins, which knows then who took part in a round
        self._keeper = Keeper(engine, folder, now)
        self._history = History(url)
        self._folder = folder
        self._nodes: list[NodeStanding] | None = None
        self._next_nodes = now

    def history(self, now: dt.datetime) -> History:
        """It, up to date."""
        if now >= self._next_nodes:
            self._next_nodes = now + NODES
            self._nodes = _nodes(self._folder)
        self._keeper.look(self._nodes, now)
        return self._history


def _nodes(folder: ServerFolder) -> "list[NodeStanding] | None":
    """Who is there, as the SuperLink says: it is in no file."""
    try:
        found = nodes_now(folder)
    except (MienError, OSError):
        return None
    return None if found is None else list(found.values())


def _endings(folder: ServerFolder, now: dt.datetime) -> list[str]:
    try:
        found = ending_soon(folder.tls, now)
    except TrustError as error:
        return [str(error)]
    return [
        f"{file} {'ends' if end > now else 'ended'} {end:%Y-%m-%d %H:%M} UTC: {remedy}"
        for file, end, remedy in found
    ]
