"""``mien server invite``: a code that lets one new site in."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def invite(
    name: Annotated[
        str, typer.Option(help="What the site is to be called: lower-case letters, digits, dashes.")
    ],
    hours: Annotated[
        float, typer.Option(min=0.01, max=168, help="How long the code may be used, hours.")
    ] = 1.0,
    host: Annotated[
        str | None,
        typer.Option(
            help="Name or address by which the lab machine reaches this server; it must be in the server's "
            "certificate.",
            show_default="the first that `init` was given",
        ),
    ] = None,
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print a code with which one machine can join, once, as the site NAME.

    Give it to the lab by a way you trust (telephone, an encrypted message): until it is used or expires,
    whoever has it can be that site. A new code for a name withdraws the one before; `mien server revoke NAME`
    withdraws it too. Needs a running `mien server up`.
    """
    import datetime as dt
    import json
    import shlex

    from mien_common.errors import MienError
    from mien_server.folder import open_folder
    from mien_server.health import check_door
    from mien_server.membership.invites import invite as invite_site
    from mien_server.membership.invites import usual_host

    opened = open_folder(folder)
    now = dt.datetime.now(dt.UTC)
    made = invite_site(opened, name, host or usual_host(opened), dt.timedelta(hours=hours), now)
    until = now + dt.timedelta(hours=hours)
    if as_json:
        print(json.dumps({"name": name, "code": made.code(), "expires": until.isoformat(timespec="seconds")}))
    else:
        print(f"{name} may join once, until {until:%Y-%m-%d %H:%M} UTC. On the lab machine:\n")
        print(f"  mien agent join {shlex.quote(made.code())} --site DIR\n")
    try:
        check_door(opened)
    except MienError as error:
        typer.echo(f"warning: the code cannot be used yet: {error}", err=True)
