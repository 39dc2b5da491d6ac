"""``mien server up``: the server itself."""

from pathlib import Path

import typer

from .options import Dir


def up(folder: Dir = Path()) -> None:
    """Run the server in the foreground until Ctrl-C or SIGTERM.

    Prints one line that starts with "ready" once agents can connect. Restarts what dies; logs are in
    DIR/logs.
    """
    import signal

    from mien_server.folder import open_folder
    from mien_server.logs import log_to_stderr
    from mien_server.up import serve

    opened = open_folder(folder)
    log_to_stderr()
    ended_by = serve(
        opened, lambda: print(f"ready: agents connect to port {opened.settings.port}", flush=True)
    )
    print("stopped", flush=True)
    if ended_by == signal.SIGINT:
        raise typer.Exit(130)
