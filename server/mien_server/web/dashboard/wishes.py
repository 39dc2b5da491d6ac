"""What an operator wants of a run: the same checks and the same queue as on the command line.

Enters: settings as JSON, or a run's name. Leaves: how the run stands now, from its own files: the history
hears of it a moment later.
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException

from mien_common.errors import SettingsError
from mien_server.facts import RunFacts
from mien_server.membership.enrolment import read_sites
from mien_server.runs.file import Source, start_time
from mien_server.runs.queue import request_stop, submit, submit_again
from mien_server.runs.record import check_unfinished
from mien_server.runs.settings import RunSettings, checked, read_run, run_folder
from mien_server.web.dashboard.desk import Desk
from mien_server.web.dashboard.moment import run_now

SENT: Final = Source(file=Path("settings"))
"""How messages call what was sent: ``settings: rule.tau: should be …``."""


def start_run(desk: Desk, values: Mapping[str, Any], not_before: dt.datetime | None) -> RunFacts:
    """Put a new run into the queue.

    Raises
    ------
    HTTPException
        422: the settings cannot be. 409: too few sites are enrolled for them.
    FederationError
        The server that would conduct it does not answer.
    """
    now = desk.clock()
    try:
        settings = checked(values, enrolled=len(read_sites(desk.folder)), source=SENT)
        when = None if not_before is None else start_time(not_before, "not_before", now)
    except SettingsError as error:
        raise HTTPException(422, str(error)) from error
    _check_ready(desk, settings)
    return run_now(desk.folder, desk.history, submit(desk.folder, settings, now, when))


def stop_run(desk: Desk, run: str) -> RunFacts:
    """Tell a run to stop, or take it out of the queue.

    Raises
    ------
    HTTPException
        404: there is no such run.
    SettingsError
        It is over.
    """
    _check_there(desk, run)
    request_stop(desk.folder, run)
    return run_now(desk.folder, desk.history, run)


def resume_run(desk: Desk, run: str) -> RunFacts:
    """Take a run up again that was stopped, failed or died.

    Raises
    ------
    HTTPException
        404: there is no such run. 409: too few sites are enrolled for it.
    SettingsError
        It is finished.
    FederationError
        The server that would conduct it does not answer.
    """
    _check_there(desk, run)
    check_unfinished(desk.folder, run)
    _check_ready(desk, read_run(run_folder(desk.folder, run)))
    submit_again(desk.folder, run, desk.clock())
    return run_now(desk.folder, desk.history, run)


def _check_there(desk: Desk, run: str) -> None:
    try:
        run_folder(desk.folder, run)
    except SettingsError as error:
        raise HTTPException(404, f"there is no run {run}") from error


def _check_ready(desk: Desk, settings: RunSettings) -> None:
    from mien_server.runs.start import check_ready  # Flower's client of the SuperLink: a second to load

    enrolled = len(read_sites(desk.folder))
    if enrolled < settings.quorum:
        raise HTTPException(
            409,
            f"the quorum is {settings.quorum} but only {enrolled} sites are enrolled. Let more in, or give a "
            "smaller quorum.",
        )
    check_ready(desk.folder, settings)
