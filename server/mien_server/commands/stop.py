"""``mien server stop``: a run ends before its last round."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def stop(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="The run's name.", show_default="the one that goes on"),
    ] = None,
    folder: Dir = Path(),
) -> None:
    """Stop a run, or take it out of the queue.

    The rounds that are done stay published; `mien server run --resume RUN` goes on after the last of them.
    """
    from mien_common.errors import FederationError
    from mien_server.folder import open_folder
    from mien_server.runs import queue
    from mien_server.runs.record import read_record, run_to_stop

    opened = open_folder(folder)
    name = run if run is not None else run_to_stop(opened)
    if not queue.stop(opened, name):
        raise FederationError(
            f"the run {name} was told to stop but has not ended yet. Its server sees to it; look: "
            f"mien server show {name}"
        )
    record = read_record(opened, name)
    done = f"{record.rounds_done} of {record.settings.rounds} rounds are done"
    print(f"{name} {record.state}: {done}; it goes on with: mien server run --resume {name}")
