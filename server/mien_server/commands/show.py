"""``mien server show``: one run, its settings and its rounds."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .event_lines import line_of, time_shares, when
from .options import Dir
from .run_lines import figures, state_in_words

if TYPE_CHECKING:
    from mien_server.folder import ServerFolder


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as in `mien server list`.")],
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Print its events as they come, to its end. Ctrl-C leaves the run alone."
        ),
    ] = False,
    folder: Dir = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; with --follow, the events as JSON lines.")
    ] = False,
) -> None:
    """Show a run: its state, settings and rounds, and why it ended."""
    import tomli_w

    from mien_server.folder import open_folder
    from mien_server.runs.journal import JournalReader
    from mien_server.runs.record import read_record
    from mien_server.runs.settings import in_words, run_folder

    opened = open_folder(folder)
    if follow:
        _follow(opened, run, as_json)
        return
    record = read_record(opened, run)
    events = list(JournalReader(run_folder(opened, run)).new())
    settings = in_words(record.settings)
    if as_json:
        print(json.dumps({**record.in_json, "settings": settings, "events": events}))
        return
    words = state_in_words(record)
    print(f"run      {record.name}")
    print(f"state    {record.state}{f': {words}' if words else ''}")
    print(f"rounds   {record.rounds_done} of {record.settings.rounds} done  {figures(record)}".rstrip())
    print(f"began    {when(record.started) if record.started else '-'}")
    print(f"ended    {when(record.ended) if record.ended else '-'}")
    if shares := time_shares(events):
        print(f"time     {shares}")
    if record.resumed:
        print(f"resumed  {record.resumed} times" if record.resumed > 1 else "resumed  once")
    print(f"models   {opened.models / record.name}\n")
    print(tomli_w.dumps(settings))
    for event in events:
        if line := line_of(event):
            print(line)


def _follow(folder: "ServerFolder", run: str, as_json: bool) -> None:
    from mien_server.runs.watch import check_finished, follow

    last = None
    for last in follow(folder, run, whole=True):
        line = json.dumps(last) if as_json else line_of(last)
        if line:
            print(line, flush=True)
    if last is not None:
        check_finished(run, last)
