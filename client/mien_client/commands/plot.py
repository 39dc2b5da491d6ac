"""``mien agent plot``: a session as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, print_json


def plot(
    session: Annotated[Path, typer.Argument(help="A session's folder, as `mien agent ingest` names it.")],
    model: Annotated[
        Path | None,
        typer.Option(help="A published model, or SITE/models/newest, to draw what it predicts as well."),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(
            "--site",
            envvar="MIEN_SITE_DIR",
            help="The site whose statistics and lag serve; the session's own when left out.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, .png or .svg; SESSION.png in this folder when left out."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a session: action units, head pose, when and why the face was missing, ratings, predictions."""
    from ..session_plot import plot_session
    from ..site import open_site

    path = out or Path(f"{session.resolve().name}.png")
    plot_session(session, model, open_site(site) if site is not None else None, path)
    if as_json:
        print_json("done", plot=str(path))
    else:
        print(f"wrote {path}")
