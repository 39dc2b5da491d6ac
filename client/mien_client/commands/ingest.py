"""``mien agent ingest``: recordings in, sessions out."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, ParticipantOption, SiteOption, UnconfinedOption, ready_for_frames


def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Videos, folders of images, CSV files of OpenFace 2 or py-feat, or folders of any of these.",
        ),
    ],
    site: SiteOption = Path(),
    ratings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="CSV time,valence,arousal (seconds, then −1 to 1), or a folder with a NAME.csv for each "
            "NAME.mp4. Without it, the NAME.csv beside each recording is taken.",
        ),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Never train on it: keep it to test models.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Also write openface.csv, laid out as OpenFace does.")
    ] = False,
    rate_hz: Annotated[
        float | None, typer.Option(help="Pictures a second of folders of images; 25 when left out.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Recordings at a time; one per free core when left out.")
    ] = None,
    participant: ParticipantOption = None,
    as_json: JsonOption = False,
    allow_unconfined: UnconfinedOption = False,
) -> None:
    """Turn recordings into sessions: action units, head pose and ratings; no picture is kept.

    What the site has already is skipped, also under another name, so that a command that was interrupted
    is simply given again. Recordings that fail are listed at the end; the others are kept.
    """
    from ..ingest import Choices
    from ..ingest_many import cores, ingest_many
    from ..recordings import find_recordings
    from ..site import open_site
    from .ingest_screen import ingest_screen

    confined = ready_for_frames(allow_unconfined)
    opened = open_site(site)
    with ingest_screen(as_json) as screen:
        recordings = find_recordings(paths, ratings, opened.folder, screen.say)
        screen.begin(len(recordings))
        try:
            choices = Choices(held_out, csv, rate_hz, participant, confined)
            ingest_many(opened, recordings, choices, workers or cores(), screen.take, screen.show)
        except KeyboardInterrupt:
            screen.interrupted()
            raise
    screen.end()
