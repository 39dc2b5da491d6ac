"""The ServerApp that Flower starts for every run: it opens the server's folder and conducts the rounds."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mien_common.errors import FederationError, MienError
from mien_server.control import quicken_grid
from mien_server.folder import SERVER_DIR_VARIABLE, ServerFolder, open_folder, without_paths
from mien_server.membership.enrolment import read_sites
from mien_server.runs.journal import Journal
from mien_server.runs.queue import read_ticket, runs_locked, stop_asked
from mien_server.runs.rounds import Rounds
from mien_server.runs.settings import read_run, run_folder
from mien_server.up import running_superlink

LOG_FILE = "server_app.log"

app = ServerApp()
log = logging.getLogger("mien_server")


class _Stopped(BaseException):
    """Somebody stopped the run, or the server."""


class _StoppableClock:
    """Real time; nobody sleeps on in a run that was told to stop."""

    def __init__(self, folder: ServerFolder, run: str) -> None:
        self._folder, self._run = folder, run

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        if stop_asked(self._folder, self._run):
            raise _Stopped
        time.sleep(seconds)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Conduct the run named in ``context.run_config``; its outcome is the journal's last event."""
    folder = open_folder(Path(os.environ[SERVER_DIR_VARIABLE]))
    name = str(context.run_config["run"])
    run = run_folder(folder, name)  # the name came over the control API: it must not lead out of the folder
    settings = read_run(run)
    journal = _take_up(folder, run, context.run_id)
    _log_to(run / LOG_FILE)
    quicken_grid()
    came: list[int] = []
    try:
        with _signals_raise(came):
            enrolled = {site.node_id: site.name for site in read_sites(folder) if site.node_id is not None}
            Rounds(
                *(grid, enrolled, settings, name, folder.models, journal),
                clock=_StoppableClock(folder, name),
                superlink=lambda: running_superlink(folder),
            ).conduct()
    except _Stopped:
        signalled = f"its server ended, or it was told to by a signal ({came[0]})" if came else ""
        reason = "its operator stopped it" if stop_asked(folder, name) else signalled
        journal.write("stopped", run=name, reason=reason)
        log.warning("event=run_stopped run=%s reason=%s", name, reason)
    except MienError as error:
        log.error("event=run_failed run=%s error=%s", name, error)
        journal.write("failed", run=name, error=without_paths(str(error), folder))
        raise
    except Exception as error:
        log.exception("event=run_failed run=%s", name)
        said = without_paths(f"{type(error).__name__}: {error}", folder)
        reason = f"{said}. The whole story is in runs/{name}/{LOG_FILE} in the server's folder"
        journal.write("failed", run=name, error=reason)
        raise FederationError(reason) from error
    finally:
        journal.close()
    if came:
        signal.raise_signal(came[0])  # now for Flower, which says goodbye to the SuperLink and exits


def _take_up(folder: ServerFolder, run: Path, flower_run: int) -> Journal:
    """The journal of the run, which is ours from here on.

    Raises
    ------
    FederationError
        The run is not, or no longer, what this process was started for: a SuperLink that was killed may
        start a process for a run that has been given to another one since.
    """
    with runs_locked(folder):
        ticket = read_ticket(folder, run.name)
        if ticket is None or ticket.flower_run != flower_run:
            raise FederationError(f"the run {run.name} is not Flower's run {flower_run}, or no longer")
        return Journal(run)


@contextmanager
def _signals_raise(came: list[int]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into an exception, so that the journal gets its last line.

    Flower's own handler exits from within whatever call the signal happened to interrupt.
    """

    def stop(number: int, _: FrameType | None) -> None:
        if not came:
            came.append(number)
            raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_to(file: Path) -> None:
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    log.setLevel(logging.INFO)
