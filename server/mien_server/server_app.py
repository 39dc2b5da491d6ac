"""The ServerApp that Flower starts for every run: it opens the server's folder and conducts the rounds."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mien_common.errors import FederationError, MienError, SettingsError
from mien_server.control import quicken_grid
from mien_server.enrolment import read_sites
from mien_server.folder import SERVER_DIR_VARIABLE, open_folder
from mien_server.journal import Journal
from mien_server.rounds import Rounds
from mien_server.run_settings import read_run
from mien_server.superlink import running_superlink

LOG_FILE = "server_app.log"

app = ServerApp()
log = logging.getLogger("mien_server")


class _StoppedBySignal(BaseException):
    """Somebody stopped the run, or the server."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Conduct the run named in ``context.run_config``; its outcome is the journal's last event."""
    folder = open_folder(Path(os.environ[SERVER_DIR_VARIABLE]))
    name = str(context.run_config["run"])
    # The name came over the control API; it must not lead out of the folder.
    if not name or Path(name).name != name or name.startswith("."):
        raise SettingsError(f"{name!r} is not the name of a run")
    run = folder.runs / name
    settings = read_run(run)
    journal = Journal(run)
    _log_to(run / LOG_FILE)
    quicken_grid()
    came: list[int] = []
    try:
        with _signals_raise(came):
            enrolled = {site.node_id: site.name for site in read_sites(folder) if site.node_id is not None}
            Rounds(
                *(grid, enrolled, settings, name, folder.models, journal),
                superlink=lambda: running_superlink(folder),
            ).conduct()
    except _StoppedBySignal:
        journal.write("stopped", run=name)
        log.warning("event=run_stopped run=%s signal=%d", name, came[0])
    except MienError as error:
        journal.write("failed", run=name, error=str(error))
        log.error("event=run_failed run=%s error=%s", name, error)
        raise
    except Exception as error:
        log.exception("event=run_failed run=%s", name)
        reason = f"{type(error).__name__}: {error}. The whole story is in {run / LOG_FILE}"
        journal.write("failed", run=name, error=reason)
        raise FederationError(reason) from error
    finally:
        journal.close()
    if came:
        signal.raise_signal(came[0])  # now for Flower, which says goodbye to the SuperLink and exits


@contextmanager
def _signals_raise(came: list[int]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into an exception, so that the journal gets its last line.

    Flower's own handler exits from within whatever call the signal happened to interrupt.
    """

    def stop(number: int, _: FrameType | None) -> None:
        if not came:
            came.append(number)
            raise _StoppedBySignal

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
