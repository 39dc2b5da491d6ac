"""``mien lab puppet``: demo videos and ratings."""

from pathlib import Path
from typing import Annotated

import typer

from .options import print_json, progress_bar


def puppet(
    out: Annotated[Path, typer.Option(help="Folder to make; an earlier data set there is replaced.")],
    participants: Annotated[int, typer.Option(help="How many puppets.")] = 4,
    seconds: Annotated[float, typer.Option(help="Length of each session.")] = 60.0,
    sessions: Annotated[int, typer.Option(help="Sessions per participant.")] = 3,
    rest_s: Annotated[
        float,
        typer.Option("--rest-s", help="Film each resting face this long, too: rest.avi, to calibrate by."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same files, byte for byte.")] = 7,
    photo: Annotated[
        Path | None, typer.Option(help="A portrait to animate instead of the public-domain astronaut.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines instead of text, for programs.")
    ] = False,
) -> None:
    """Make demo data: videos and ratings of a puppeteered photograph.

    A photograph's face is warped to follow a random script of valence and arousal. That is real input
    for the whole path from video to model, and no evidence about people.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from ..puppet import make_puppets, settings_from
    from ..puppet_script import NOTE

    settings = settings_from(
        participants=participants, seconds=seconds, sessions=sessions, rest_s=rest_s, seed=seed
    )
    if as_json:
        print_json("start", note=NOTE, frames=settings.frames)
    else:
        print(NOTE)
    with progress_bar("rendering", as_json) as progress:
        made = make_puppets(settings, out, photo, progress)
    if as_json:
        videos = [str(video) for video in made.videos]
        print_json("done", out=str(made.folder), videos=videos, frames=made.frames, bytes=made.bytes)
        return
    size_mb = made.bytes / 1e6
    print(f"{len(made.videos)} videos of {participants} participants in {made.folder}, {size_mb:.0f} MB")
