"""The process that keeps the history: ``python -m mien_server.history.recorder DIR``, kept running by `up`.

Enters: what the server's processes write into its folder, and what the SuperLink says of the sites. Leaves:
rows in the database. The files stay the truth: while the database is away nothing is lost, and nothing waits.
"""

import datetime as dt
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Engine

from mien_common.errors import MienError, StorageError
from mien_server.exports.choice import wanted_followers
from mien_server.folder import ServerFolder, open_folder
from mien_server.history.connection import database_errors, file_of, history_url, in_words, writer_engine
from mien_server.history.followers import Following
from mien_server.history.intake import Intake
from mien_server.history.journals import signature
from mien_server.history.poller import Poller
from mien_server.history.presence import Node, Presence
from mien_server.history.releases_intake import ReleasesIntake
from mien_server.history.revisions import prepare
from mien_server.history.sole import sole_recorder
from mien_server.logs import log_to_stderr
from mien_server.membership.roll import Roll, read_roll

LOOK_S: Final = 0.25
PRESENCE: Final = dt.timedelta(seconds=2)
PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Before a database that was away is tried again; the last one repeats."""
GOODBYE_S: Final = 1.0

log = logging.getLogger("mien_server.history.recorder")  # it is run as __main__


class Keeper:
    """Takes up what is new, as long as the database answers; a new one is made when it did not.

    Parameters
    ----------
    engine : of the writer, to a database that was prepared.
    """

    def __init__(self, engine: Engine, folder: ServerFolder, now: dt.datetime) -> None:
        self._folder = folder
        self._intake = Intake(engine, folder)
        self._releases = ReleasesIntake(engine, folder)
        self._presence = Presence(engine, now)
        self._roll = Roll()
        self._roll_files: tuple[int, int, int] | None = None
        self._next_presence = now

    def look(self, nodes: Sequence[Node] | None, now: dt.datetime) -> None:
        """One look; sites and releases are looked at every two seconds.

        Parameters
        ----------
        nodes : what the SuperLink said last; None where it does not answer.
        """
        self._intake.look(now)
        if now >= self._next_presence:
            self._next_presence = now + PRESENCE
            self._releases.look(now)
            self._presence.take(self._read_roll(), nodes, now)

    def _read_roll(self) -> Roll:
        files = signature(self._folder.sites_file)
        if files != self._roll_files:
            self._roll_files = files
            try:
                self._roll = read_roll(self._folder)
            except MienError as error:  # the sites stay as they were
                log.warning("event=roll_not_read reason=%s", error)
        return self._roll


class Recorder:
    """Keeps the history of ``folder`` up to date until it is told to stop.

    Parameters
    ----------
    look_s : how long to wait between two looks; so that tests need not.
    """

    def __init__(self, folder: ServerFolder, look_s: float = LOOK_S) -> None:
        self._folder, self._look_s = folder, look_s
        self._ended = threading.Event()
        self._failures = 0
        self._said = ""

    def stop(self) -> None:
        """Take up what there is, and end."""
        self._ended.set()

    def run(self) -> None:
        """Record until :meth:`stop`; a database that is away is waited for."""
        poller = Poller(self._folder)
        poller.start()
        while not self._ended.is_set():
            try:
                self._record(poller)
            except MienError as error:
                if str(error) != self._said:  # once, not every five seconds
                    log.warning("event=history_waits reason=%s", error)
                self._said = str(error)
                self._ended.wait(PAUSES_S[min(self._failures, len(PAUSES_S) - 1)])
                self._failures += 1
        poller.stop()

    def _record(self, poller: Poller) -> None:
        url = history_url(self._folder)
        engine = writer_engine(url)
        following: list[Following] = []
        try:
            prepare(engine, url, self._folder, _now())
            with database_errors(url), sole_recorder(engine, url):
                keeper = Keeper(engine, self._folder, _now())
                log.info("event=history_kept database=%s", in_words(url))
                for wanted in wanted_followers(self._folder):
                    following.append(Following(url, self._folder, wanted))
                    following[-1].start()
                self._look_until_ended(keeper, poller, url)
        finally:
            for each in following:
                each.stop(GOODBYE_S)
            engine.dispose()

    def _look_until_ended(self, keeper: Keeper, poller: Poller, url: URL) -> None:
        file, is_last = file_of(url), False
        while not is_last:
            is_last = self._ended.is_set()  # what was written until then is taken up
            keeper.look(poller.answer(), _now())
            self._failures, self._said = 0, ""
            if file_of(url) != file:
                raise StorageError(f"{in_words(url)} was moved away, or exchanged. It is opened anew.")
            self._ended.wait(self._look_s)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


if __name__ == "__main__":
    log_to_stderr()
    recorder = Recorder(open_folder(Path(sys.argv[1])))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: recorder.stop())
    recorder.run()
