"""Whether the history is kept, for ``mien server doctor``.

Enters: the server's folder. Leaves: a finding. Nothing is made or changed.
"""

import datetime as dt
from typing import Final

from mien_common.errors import MienError
from mien_common.findings import Finding, fault, ok, warning
from mien_server.folder import DATABASE_VARIABLE, ServerFolder
from mien_server.history.connection import in_words
from mien_server.history.database import check_history, open_history

CHECK: Final = "history"
BEHIND_S: Final = 30.0
"""A recorder looks every two seconds, at least."""
OTHERS: Final = 0o077


def history_finding(folder: ServerFolder, running: bool, now: dt.datetime) -> Finding:
    """Whether its database answers, is this server's, and is up to date."""
    log = folder.logs / "recorder.log"
    try:
        url = check_history(folder)
        history = open_history(folder)
    except MienError as error:
        found, _, remedy = str(error).partition(". ")
        if not running and "no history yet" in found:
            return warning(CHECK, "there is none yet", f"mien server up --dir {folder.path} begins one")
        return fault(CHECK, found, remedy or f"see {log}")
    try:
        events, seen = history.last_event(), history.seen()
    except MienError as error:
        found, _, remedy = str(error).partition(". ")
        return fault(CHECK, found, remedy)
    finally:
        history.close()
    said = f"{events} events in {in_words(url)}"
    behind_s = (now - seen).total_seconds() if seen is not None else 0.0
    if running and behind_s > BEHIND_S:
        return fault(CHECK, f"{said}; nothing was taken up for {behind_s:.0f} s", f"see {log}")
    if folder.settings.database and url.password and _others_can_read(folder):
        return warning(
            CHECK,
            f"{said}; others can read its password in {folder.path / 'server.toml'}",
            f"give the URL in {DATABASE_VARIABLE} instead, or chmod go-r {folder.path / 'server.toml'}",
        )
    return ok(CHECK, said)


def _others_can_read(folder: ServerFolder) -> bool:
    return bool((folder.path / "server.toml").stat().st_mode & OTHERS)
