"""``mien agent predict``: a video's valence and arousal by a published model."""

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    JsonOption,
    ParticipantOption,
    UnconfinedOption,
    print_json,
    progress_bar,
    ready_for_frames,
)


def predict(
    video: Annotated[Path, typer.Argument(help="A video file of one person's face.")],
    model: Annotated[Path, typer.Option(help="A published model's folder, or the model.safetensors in it.")],
    site: Annotated[
        Path | None,
        typer.Option(
            "--site",
            envvar="MIEN_SITE_DIR",
            help="Standardise features by this site's statistics, as in training; else by the video's own.",
        ),
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="CSV time,valence,arousal to draw under the traces.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the CSV file and the plot.")] = Path(),
    participant: ParticipantOption = None,
    unconfined: UnconfinedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict valence and arousal of a video: a CSV file with a line per frame, and a PNG plot.

    Without --site, the video's own mean and spread over its whole length stand in for a site's; that
    looks ahead, which a live prediction (`mien agent watch`) can't.
    """
    from ..predict import predict_video
    from ..site import open_site

    confined = ready_for_frames(unconfined)
    opened = open_site(site) if site is not None else None
    with progress_bar(video.name, as_json) as progress:
        done = predict_video(
            video,
            model,
            opened,
            ratings,
            out,
            progress,
            participant=participant,
            confined=confined,
        )
    if as_json:
        print_json(
            "done",
            csv=str(done.csv),
            plot=str(done.plot),
            scaled_by=done.scaled_by,
            neutral=done.neutral_in_words,
        )
        return
    print(
        f"model of run {done.card.run}, round {done.card.round}; "
        f"face in {done.valid_frames} of {done.frames} frames"
    )
    print(done.neutral_in_words)
    if done.scaled_by == "video":
        print(
            "features were standardised by this video's own statistics; --site uses a site's, as in training"
        )
    print(f"wrote {done.csv}")
    print(f"wrote {done.plot}")
