"""``mien server status``: how the server stands, once or for as long as somebody watches."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .options import Dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from mien_server.folder import ServerFolder
    from mien_server.status_source import Moment

EVERY_S: Final = 1.0
PLAIN_WIDTH: Final = 500
"""Of what is no terminal: nothing is wrapped there."""


def status(
    folder: Dir = Path(),
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C: the same screen, always up to date.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object; with --watch, one a line for every change."),
    ] = False,
) -> None:
    """Show the run, what it waits for, its curves, the sites, the queue, and what needs doing.

    Reads the server's folder and its history: needs no login, nor a server that runs.
    """
    from mien_server.folder import open_folder
    from mien_server.logs import interrupt_on_signals

    interrupt_on_signals()  # what stands in for a history is removed at the end, however it comes
    opened = open_folder(folder)
    if as_json:
        for moment in _changes(opened, watch):
            print(json.dumps(moment.status.model_dump(mode="json")), flush=True)
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH, force_terminal=False)
    elif watch:
        _show_live(opened, console)
        return
    for place, moment in enumerate(_changes(opened, watch)):
        if place:
            console.print()
        _print(moment, console)


def _print(moment: "Moment", console: "Console") -> None:
    from .status_screen import status_lines

    for line in status_lines(moment.status, moment.rounds, moment.warnings, console):
        console.print(line)


def _show_live(folder: "ServerFolder", console: "Console") -> None:
    from rich.console import Group
    from rich.live import Live

    from .status_screen import status_lines

    with Live(console=console, auto_refresh=False) as live:
        for moment in _moments(folder, watch=True):
            lines = status_lines(moment.status, moment.rounds, moment.warnings, console)
            live.update(Group(*lines), refresh=True)


def _changes(folder: "ServerFolder", watch: bool) -> "Iterator[Moment]":
    """Those between which something happened, and not only time went by."""
    last: object = None
    for moment in _moments(folder, watch):
        if moment.news != last:
            last = moment.news
            yield moment


def _moments(folder: "ServerFolder", watch: bool) -> "Iterator[Moment]":
    import datetime as dt

    from mien_server.logs import raise_if_interrupted
    from mien_server.status_source import StatusSource

    with StatusSource(folder) as source:
        while True:
            yield source.read(dt.datetime.now(dt.UTC))
            if not watch:
                return
            raise_if_interrupted()
            time.sleep(EVERY_S)
