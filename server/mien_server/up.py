"""The server itself: stock ``flower-superlink`` and ``flower-superexec``, our two listeners, kept running.

The SuperLink keeps its state in a file and runs no app code, so killing it loses nothing: the agents
and the ServerApp connect again when it is back. The SuperExec starts our ServerApp for every run; which run's
turn it is, the dispatcher says.
"""

import datetime as dt
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from mien_common.errors import FederationError, ForeignHistoryError, MienError, StorageError
from mien_common.files import write_atomic
from mien_common.versions import MIEN_VERSION
from mien_server.certificate_watch import CertificateWatch
from mien_server.certificates import check_certificates, warn_of_ends
from mien_server.child_commands import commands
from mien_server.control import Control
from mien_server.folder import LOOPBACK, ServerFolder, locked_for_up, remove_drafts
from mien_server.health import check_dashboard, check_door, check_health, check_releases
from mien_server.membership.enrolment import register
from mien_server.ports import check_port
from mien_server.processes import Child
from mien_server.runs.dispatch import Dispatcher
from mien_server.runs.queue import runs_locked
from mien_server.server_events import record_event
from mien_server.web.dashboard.access import Access, write_access

READY_PATIENCE_S: Final = 90.0
POLL_S: Final = 0.1
STOP_PATIENCE_S: Final = 2.5
"""For each of the processes; they keep on disk what matters, so a kill costs nothing."""
RECORDER_PATIENCE_S: Final = 5.0
"""For the recorder; what it does not write by then is taken up at the next start."""

WARN_EVERY_S: Final = 24 * 3600.0
"""How often the log says again that a certificate ends soon."""

PIDS_FILE: Final = "pids.json"

log = logging.getLogger(__name__)


def serve(folder: ServerFolder, ready: Callable[[], None], access: Access = Access()) -> int:  # noqa: B008 - frozen
    """Run the server until a signal ends it, then leave nothing running; that signal's number.

    Parameters
    ----------
    ready : called once, when agents can connect and every port answers.
    access : from where the dashboard can be reached.

    Raises
    ------
    TrustError
        The certificates would not be accepted by any site.
    FederationError
        Another server runs on this folder, a port is taken, or Flower does not come up.
    ForeignHistoryError
        The history's database is a newer Mien's, or another server's.
    """
    check_certificates(folder.tls, dt.datetime.now(dt.UTC))
    with locked_for_up(folder), _stop_signals() as stopped:
        check_ports(folder, access)
        write_access(folder, access)
        _check_history(folder)
        with runs_locked(folder):
            for draft in remove_drafts(folder):
                log.warning("event=draft_removed path=%s", draft)
        children = [Child(command) for command in commands(folder, access)]
        dispatcher, warned = Dispatcher(folder), time.monotonic()
        certificate = CertificateWatch(folder.tls)
        how, came_up = "crash" if (folder.state / PIDS_FILE).exists() else "new", False
        try:
            for child in children:
                child.start()
            _record_pids(folder, children)
            _wait_until_ready(folder, children, stopped)
            if not stopped():
                with Control(folder) as control:
                    register(folder, control)
                dispatcher.look()  # of runs that an earlier server left
                record_event(folder, "server_started", version=MIEN_VERSION, how=how)
                came_up = True
                ready()
            while not stopped():
                started = [child.watch() for child in children]
                if certificate.replaced():
                    for child in children:
                        if child.command.shows_certificate:
                            child.restart(STOP_PATIENCE_S)
                            started.append(True)
                if any(started):
                    _record_pids(folder, children)
                dispatcher.look()
                if time.monotonic() - warned > WARN_EVERY_S:
                    warn_of_ends(folder.tls, dt.datetime.now(dt.UTC))
                    warned = time.monotonic()
                time.sleep(POLL_S)
        finally:
            # The SuperExec first: a ServerApp that is going on can then still say goodbye.
            recorder, *others = children
            for child in reversed(others):
                child.stop(STOP_PATIENCE_S)
            if came_up:
                record_event(folder, "server_stopped", version=MIEN_VERSION)
            recorder.stop(RECORDER_PATIENCE_S)  # last, so that the history has that, too
            (folder.state / PIDS_FILE).unlink(missing_ok=True)
        return stopped()


def check_ports(folder: ServerFolder, access: Access) -> None:
    """Raise FederationError when one of our ports is taken."""
    settings = folder.settings
    check_port(folder, "port", settings.listen, settings.port)
    check_port(folder, "control_port", LOOPBACK, settings.control_port)
    if settings.enrol_port:
        check_port(folder, "enrol_port", settings.listen, settings.enrol_port)
    if settings.releases_port:
        check_port(folder, "releases_port", settings.listen, settings.releases_port)
    if settings.dashboard_port:
        check_port(folder, "dashboard_port", access.listens_on(folder), settings.dashboard_port)


def _check_history(folder: ServerFolder) -> None:
    """Refuse a database that is not for us; one that is away holds up no training, and the recorder waits."""
    from mien_server.history.database import check_history

    try:
        check_history(folder)
    except ForeignHistoryError:
        raise
    except StorageError as error:
        log.warning("event=history_away reason=%s", error)


def _wait_until_ready(folder: ServerFolder, children: list[Child], stopped: Callable[[], int]) -> None:
    deadline = time.monotonic() + READY_PATIENCE_S
    while not stopped():
        for child in children:
            if child.process is not None and child.process.poll() is not None:
                raise child.failure()
        try:
            check_health(folder)
            check_door(folder)
            check_releases(folder)
            check_dashboard(folder)
        except MienError as error:
            if time.monotonic() > deadline:
                raise FederationError(
                    f"the server did not answer within {READY_PATIENCE_S:.0f} s. Its logs: {folder.logs}"
                ) from error
        else:
            return
        time.sleep(POLL_S)


def running_superlink(folder: ServerFolder) -> int | None:
    """Process id of the SuperLink that `up` has running now; None where it is not known."""
    try:
        found = json.loads((folder.state / PIDS_FILE).read_bytes())["superlink"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def _record_pids(folder: ServerFolder, children: list[Child]) -> None:
    pids = {child.command.name: child.process.pid for child in children if child.process is not None}
    write_atomic(folder.state / PIDS_FILE, json.dumps({"up": os.getpid(), **pids}).encode())


@contextmanager
def _stop_signals() -> Iterator[Callable[[], int]]:
    """SIGINT and SIGTERM ask for an orderly end; the value tells which has come, 0 for none."""
    came: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
