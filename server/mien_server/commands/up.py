"""``mien server up``: the server itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Dir

if TYPE_CHECKING:
    from mien_server.folder import ServerFolder
    from mien_server.web.dashboard.access import Access


def up(
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Let other machines open the page, over TLS, with the server's certificate unless you give "
            "another; else only this machine can.",
        ),
    ] = False,
    dashboard_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pem",
            help="For --public: a certificate chain that browsers trust.",
            show_default=False,
        ),
    ] = None,
    dashboard_key: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="Its key.", show_default=False)
    ] = None,
    folder: Dir = Path(),
) -> None:
    """Run the server in the foreground until Ctrl-C or SIGTERM.

    Prints one line that starts with "ready" once agents can connect, then where the page is; the first time
    with the token to log in by. Restarts what dies; logs are in DIR/logs.
    """
    import signal

    from mien_server.folder import open_folder
    from mien_server.logs import log_to_stderr
    from mien_server.up import serve
    from mien_server.web.dashboard.access import checked_access

    opened = open_folder(folder)
    access = checked_access(public, dashboard_cert, dashboard_key)
    log_to_stderr()
    ended_by = serve(opened, lambda: _say_ready(opened, access), access)
    print("stopped", flush=True)
    if ended_by == signal.SIGINT:
        raise typer.Exit(130)


def _say_ready(folder: "ServerFolder", access: "Access") -> None:
    import datetime as dt

    from mien_common.errors import StorageError
    from mien_server.web.dashboard.tokens import first_token

    print(f"ready: agents connect to port {folder.settings.port}", flush=True)
    if not folder.settings.dashboard_port:
        return
    print(f"dashboard: {access.url(folder)}")
    if access.public and access.certificate is None:
        print(f"  on this machine also: https://localhost:{folder.settings.dashboard_port}")
        print(f"  browsers trust it once they trust {folder.ca_certificate}; or give --dashboard-cert")
    again = f"mien server token --dir {folder.path}"
    try:
        token = first_token(folder, dt.datetime.now(dt.UTC))
    except StorageError as error:
        print(f"  no token could be made: {error} Then: {again}", flush=True)
        return
    if token is None:
        print(f"  log in with the operator's token; a new one: {again}", flush=True)
    else:
        print(f"  the operator's token, shown only now: {token}\n  another one: {again}", flush=True)
