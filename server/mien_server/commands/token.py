"""``mien server token``: a new token for the dashboard."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import Dir


def token(
    role: Annotated[
        Literal["operator", "viewer"],
        typer.Option(help="What its holder may: everything, or only look (also for Prometheus)."),
    ] = "operator",
    folder: Dir = Path(),
) -> None:
    """Make a new token for the page and the JSON API, and print it; it is kept as a hash only.

    The role's token before it stops to count, and whoever logged in with it has to log in again.
    """
    import datetime as dt

    from mien_server.folder import open_folder
    from mien_server.web.dashboard.access import read_access
    from mien_server.web.dashboard.tokens import new_token

    opened = open_folder(folder)
    made = new_token(opened, role, dt.datetime.now(dt.UTC))
    if opened.settings.dashboard_port:
        typer.echo(f"the {role}'s token for {read_access(opened).url(opened)}, shown only now:", err=True)
    print(made)
