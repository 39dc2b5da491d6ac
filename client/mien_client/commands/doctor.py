"""``mien agent doctor``: what is wrong, and how to mend it."""

from pathlib import Path

import typer

from .options import JsonOption, SiteOption


def doctor(site: SiteOption = Path(), as_json: JsonOption = False) -> None:
    """Look at everything that may keep this site from taking part; a line each, with how to mend it.

    Settings and key, name resolution, port, TLS chain, host name, clock, enrolment, versions, camera, CUDA,
    face process, disk. Changes nothing; asks this site's own server and nobody else. Ends with 1 where there
    is a fault.
    """
    from mien_common.findings import as_json_text

    from ..doctor import examine

    found = list(examine(site))
    print(as_json_text(found) if as_json else "\n".join(map(str, found)))
    if any(finding.state == "fault" for finding in found):
        raise typer.Exit(1)
