"""``mien server list``: every run, and where it stands."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .event_lines import when
from .options import Dir
from .run_lines import figures, state_in_words


def list_runs(
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per run.")] = False,
) -> None:
    """List the runs, oldest first: waiting, running, finished, stopped, failed or died."""
    from mien_server.folder import open_folder
    from mien_server.runs.record import list_runs as read_all

    opened = open_folder(folder)
    found = read_all(opened, lambda reason: typer.echo(f"warning: a run is left out: {reason}", err=True))
    if not found and not as_json:
        print(f"no runs yet in {opened.runs}; `mien server run --rounds N` starts one")
    for record in found:
        if as_json:
            print(json.dumps(record.in_json))
            continue
        rounds = f"{record.rounds_done}/{record.settings.rounds} rounds"
        began = when(record.started) if record.started else "-"
        print(
            f"{record.name}  {record.state:<8}  {rounds:>14}  {began:<16}  {record.settings.rule.name:<12}  "
            f"{figures(record)}{state_in_words(record)}".rstrip()
        )
