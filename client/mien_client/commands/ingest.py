"""``mien agent ingest``: videos in, sessions out."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, SiteOption, print_json, progress_bar


def ingest(
    video: Annotated[Path, typer.Argument(help="A video file of one person's face.")],
    site: SiteOption = Path(),
    ratings: Annotated[
        Path | None, typer.Option(help="CSV file time,valence,arousal: seconds, then −1 to 1.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Never train on it: keep it to test models.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Also write openface.csv, laid out as OpenFace does.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a video into a session: action units, head pose and ratings; no picture is kept."""
    from ..confinement import deny_network
    from ..ingest import ingest as ingest_video
    from ..site import open_site
    from ..system_libraries import require_system_libraries

    require_system_libraries()
    deny_network()
    opened = open_site(site)
    with progress_bar(video.name, as_json) as progress:
        done = ingest_video(opened, video, ratings, held_out=held_out, csv=csv, progress=progress)
    if as_json:
        print_json("done", session=str(done.folder), frames=done.frames, valid_frames=done.valid_frames)
        return
    share = 100 * done.valid_frames / done.frames
    use = (
        "held out, never trained on" if done.held_out else "for training" if done.rated else "without ratings"
    )
    print(f"session {done.folder.name}: {done.frames} frames at 25 Hz, face in {share:.0f} %, {use}")
