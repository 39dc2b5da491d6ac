"""``mien server sites``: who is enrolled, invited, revoked, and when they were last seen."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def sites(
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per site.")] = False,
) -> None:
    """List every site: state, key, when it was last seen."""
    import datetime as dt
    import json
    from dataclasses import asdict

    from mien_server.folder import open_folder
    from mien_server.membership.standing import standings

    opened = open_folder(folder)
    found, asked = standings(opened, dt.datetime.now(dt.UTC))
    if as_json:
        for site in found:
            print(json.dumps(asdict(site), default=lambda when: when.isoformat(timespec="seconds")))
        return
    if not found:
        print("no sites yet; let one in: mien server invite --name lab-1")
    for site in found:
        if site.until is not None:
            when = f"{'until' if site.state == 'invited' else 'since'} {site.until:%Y-%m-%d %H:%M} UTC"
        elif site.revoked is not None:
            when = f"since {site.revoked:%Y-%m-%d %H:%M} UTC"
        else:
            when = f"last seen {site.last_seen:%Y-%m-%d %H:%M:%S} UTC" if site.last_seen else "never seen"
            when = when if asked else ""
        print(f"{site.name:<16} {site.state:<18} {site.fingerprint or '-':<50}  {when}".rstrip())
    if not asked:
        typer.echo("no server answers, so nobody knows who is online: mien server up", err=True)
