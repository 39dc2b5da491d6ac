"""Start a run on the running server and follow it to its end.

Enters: the run's settings. Leaves: its events, as they happen. A run whose ServerApp died without a
word is noticed within seconds; leaving early (Ctrl-C) stops the run.
"""

import contextlib
import datetime as dt
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

from mien_common.errors import FederationError
from mien_server.control import Control, RunStatus
from mien_server.enrolment import read_sites, register
from mien_server.folder import ServerFolder
from mien_server.journal import Event, JournalReader
from mien_server.run_settings import RunSettings, create_run

LAST_EVENTS: Final = frozenset({"finished", "failed", "stopped"})
POLL_S: Final = 0.1
STATUS_POLL_S: Final = 2.0
START_PATIENCE_S: Final = 180.0
"""How long Flower may take to start the run's ServerApp."""
SERVER_PATIENCE_S: Final = 60.0
"""How long the SuperLink may be away, as when it died and is started again, before we give up."""


def run_and_follow(folder: ServerFolder, settings: RunSettings) -> Generator[Event]:
    """Start a run and yield its events until it has finished.

    Closing the iterator early stops the run.

    Raises
    ------
    FederationError
        No server answers, fewer sites are enrolled than the quorum, or the run failed.
    """
    enrolled = len(read_sites(folder))
    if enrolled < settings.quorum:
        raise FederationError(
            f"the quorum is {settings.quorum} but only {enrolled} sites are enrolled. "
            "Enrol more (mien server enrol), or give a smaller --quorum."
        )
    with Control(folder) as control:
        register(folder, control)
        path = create_run(folder, settings, dt.datetime.now(dt.UTC))
        try:
            run_id = control.start_run({"run": path.name})
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        ended = False
        try:
            for event in _events(folder, path, _Status(control, run_id)):
                ended = event["event"] in LAST_EVENTS
                yield event
                if event["event"] == "failed":
                    raise FederationError(f"the run {path.name} failed: {event['error']}")
                if event["event"] == "stopped":
                    raise FederationError(f"the run {path.name} was stopped; is the server still up?")
        finally:
            if not ended:
                with contextlib.suppress(FederationError):  # without a server, the run is stopped already
                    control.stop_run(run_id)


def _events(folder: ServerFolder, run: Path, status: "_Status") -> Generator[Event]:
    """Events up to the last one; an error when there will be no last one."""
    reader, began, started = JournalReader(run), time.monotonic(), False
    over = False
    while True:
        for event in reader.new():
            started = True
            yield event
            if event["event"] in LAST_EVENTS:
                return
        if over:  # and was so before the events were read: none of its last ones was missed
            raise _died(folder, run.name, status.latest)
        over = reader.abandoned() or status.finished()
        if not started and not over and time.monotonic() - began > START_PATIENCE_S:
            raise FederationError(
                f"the run {run.name} did not start within {START_PATIENCE_S:.0f} s. "
                f"See {folder.logs / 'superexec.log'}"
            )
        time.sleep(POLL_S)


class _Status:
    """Flower's word on a run, asked now and then."""

    def __init__(self, control: Control, run_id: int) -> None:
        self.latest: RunStatus | None = None
        self._control, self._run_id = control, run_id
        self._seen = self._asked = time.monotonic()

    def finished(self) -> bool:
        """Whether the run is over, as far as we know; a server that is away for a while is forgiven."""
        if time.monotonic() - self._asked > STATUS_POLL_S:
            try:
                self.latest, self._seen = self._control.run_status(self._run_id), time.monotonic()
            except FederationError:
                if time.monotonic() - self._seen > SERVER_PATIENCE_S:
                    raise
            self._asked = time.monotonic()
        return self.latest is not None and self.latest.finished


def _died(folder: ServerFolder, run: str, status: RunStatus | None) -> FederationError:
    if status is not None and status.stopped:
        return FederationError(f"the run {run} was stopped: {status.details or 'by another command'}")
    details = (status.details if status is not None else "") or "its ServerApp died"
    return FederationError(
        f"the run {run} ended before its last round: {details}. "
        f"See {folder.runs / run / 'server_app.log'} and {folder.logs / 'superlink.log'}"
    )
