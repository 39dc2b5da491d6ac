"""Start a run on the running server and follow it to its end.

Enters: the run's settings. Leaves: its events, as they happen. A run whose ServerApp died without a
word is noticed within seconds; leaving early (Ctrl-C) stops the run.
"""

import contextlib
import datetime as dt
import shutil
import time
from collections.abc import Generator
from typing import Final

from mien_common.errors import FederationError
from mien_server.control import Control, RunStatus
from mien_server.enrolment import read_sites, register
from mien_server.folder import ServerFolder
from mien_server.journal import Event, JournalReader
from mien_server.run_settings import RunSettings, create_run

POLL_S: Final = 0.1
STATUS_POLL_S: Final = 2.0
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
            reader, status, abandoned = JournalReader(path), None, False
            last_seen, next_status = time.monotonic(), time.monotonic() + STATUS_POLL_S
            while True:
                for event in reader.new():
                    ended = event["event"] in {"finished", "failed", "stopped"}
                    yield event
                    if event["event"] == "failed":
                        raise FederationError(f"the run {path.name} failed: {event['error']}")
                    if event["event"] == "stopped":
                        raise FederationError(f"the run {path.name} was stopped; is the server still up?")
                if ended:
                    return
                # Asked before the events were read, so that none of its last ones is missed.
                if abandoned or (status is not None and status.finished):
                    raise _died(folder, path.name, status)
                abandoned = reader.abandoned()
                if time.monotonic() >= next_status:
                    try:
                        status, last_seen = control.run_status(run_id), time.monotonic()
                    except FederationError:
                        if time.monotonic() - last_seen > SERVER_PATIENCE_S:
                            raise
                    next_status = time.monotonic() + STATUS_POLL_S
                time.sleep(POLL_S)
        finally:
            if not ended:
                with contextlib.suppress(FederationError):  # without a server, the run is stopped already
                    control.stop_run(run_id)


def _died(folder: ServerFolder, run: str, status: RunStatus | None) -> FederationError:
    if status is not None and status.stopped:
        return FederationError(f"the run {run} was stopped: {status.details or 'by another command'}")
    details = (status.details if status is not None else "") or "its ServerApp died"
    return FederationError(
        f"the run {run} ended before its last round: {details}. "
        f"See {folder.runs / run / 'server_app.log'} and {folder.logs / 'superlink.log'}"
    )
