"""``mien server doctor``: what is wrong, and how to mend it."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def doctor(
    folder: Dir = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of text, for programs.")
    ] = False,
) -> None:
    """Look at everything that may keep this server from working; a line each, with how to mend it.

    Versions, disk, private files, certificates, host names, clock, ports, enrolment. Changes nothing. Ends
    with 1 where there is a fault.
    """
    import datetime as dt

    from mien_common.findings import Finding, as_json_text
    from mien_server.doctor import examine, folder_of

    opened = folder_of(folder)
    found = [opened] if isinstance(opened, Finding) else list(examine(opened, dt.datetime.now(dt.UTC)))
    print(as_json_text(found) if as_json else "\n".join(map(str, found)))
    if any(finding.state == "fault" for finding in found):
        raise typer.Exit(1)
