"""What the ``mien agent`` commands share: options, a progress bar, JSON lines."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer

SiteOption = Annotated[
    Path,
    typer.Option("--site", envvar="MIEN_SITE_DIR", help="The site's folder, made by `mien agent init`."),
]
LagOption = Annotated[
    float | None,
    typer.Option(
        help="For a new site: how far ratings trail the face, seconds (1 to 6 is usual).", show_default="2"
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="For a new site: where to train, auto, cpu or cuda.", show_default="auto"),
]
ParticipantOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Whose face it is, to use their calibration; no real names."),
]
UnconfinedOption = Annotated[
    bool,
    typer.Option(
        "--allow-unconfined-face-process",
        help="Go on where this machine cannot confine the face process; `mien agent status` will say so.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of text, for programs.")]


def ready_for_frames(allow_unconfined: bool, *, needs_network: bool = False) -> bool:
    """Give up this command's network, for good; whether its face processes are to be confined.

    Raises
    ------
    ConfinementError
        This process cannot give up its network, and nobody allowed that.
    MienError
        A system library is missing; the message says which.
    """
    from mien_common.errors import ConfinementError

    from ..face.confinement import deny_network
    from ..face.confinement_record import require_confinement
    from ..system_libraries import require_system_libraries

    require_system_libraries()
    confined = require_confinement(allow_unconfined)
    if not needs_network:
        # Where a face process cannot be confined this process may not be able to either; that is allowed.
        with nullcontext() if confined else suppress(ConfinementError):
            deny_network()
    return confined


@contextmanager
def progress_bar(name: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, JSON lines for programs, nothing where neither reads."""
    if as_json:
        yield lambda done, total: print_json("progress", frames=done, total=total) if done % 25 == 0 else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        *(TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()),
        *(TextColumn("{task.fields[speed]}", markup=False), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        readable = name.encode(errors="replace").decode()  # a file's name may be any bytes
        task = bar.add_task(readable, total=None, speed="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, speed=f"{speed:.0f} frames/s" if speed else "")

        yield advance


def print_json(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)
