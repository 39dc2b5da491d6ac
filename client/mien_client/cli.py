"""``mien agent``: the commands of a lab machine."""

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mien_common.errors import SettingsError

app = typer.Typer(no_args_is_help=True)

SiteOption = Annotated[
    Path,
    typer.Option("--site", envvar="MIEN_SITE_DIR", help="The site's folder, made by `mien agent init`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of text, for programs.")]


@app.callback()
def agent() -> None:
    """On the machine that sees the face: ingest video, train, predict.

    Video is decoded without a network, and faces are found in a process that has none and cannot write
    files. What leaves this machine are model updates and sums, listed in the site's receipts.jsonl.
    """


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make for this site.")],
    name: Annotated[str, typer.Option(help="The site's name: lower case letters, digits, dashes.")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the server is.")],
    ca: Annotated[Path, typer.Option(help="The server's tls/ca.crt, from its operator.")],
    lag_s: Annotated[
        float, typer.Option(help="How far ratings trail the face, seconds (1 to 6 is usual).")
    ] = 2.0,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu or cuda.")] = "auto",
) -> None:
    """Make this site's folder and its key. The private key never leaves it."""
    from pydantic import ValidationError

    from .site import SiteSettings, create_site, first_problem

    try:
        settings = SiteSettings.model_validate(
            {"name": name, "server": server, "lag_s": lag_s, "device": device}
        )
    except ValidationError as error:
        raise SettingsError(first_problem(error)) from error
    site = create_site(folder, settings, ca)
    print(f"site {settings.name} made in {folder}")
    print(f"give {site.public_key_file} to the server's operator, who enrols it with:")
    print(f"  mien server enrol {site.public_key_file.name} --name {settings.name}")


@app.command()
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
    from .confinement import deny_network
    from .ingest import ingest as ingest_video
    from .site import open_site
    from .system_libraries import require_system_libraries

    require_system_libraries()
    deny_network()
    opened = open_site(site)
    with _progress(video.name, as_json) as progress:
        done = ingest_video(opened, video, ratings, held_out=held_out, csv=csv, progress=progress)
    if as_json:
        _json("done", session=str(done.folder), frames=done.frames, valid_frames=done.valid_frames)
        return
    share = 100 * done.valid_frames / done.frames
    use = (
        "held out, never trained on" if done.held_out else "for training" if done.rated else "without ratings"
    )
    print(f"session {done.folder.name}: {done.frames} frames at 25 Hz, face in {share:.0f} %, {use}")


@app.command()
def join(site: SiteOption = Path()) -> None:
    """Join the federation: wait for rounds, train on this site's sessions, send updates. Ctrl-C leaves."""
    from .site import open_site

    opened = open_site(site)
    from .agent import run_agent  # only now: it takes seconds to load

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("flwr").setLevel(logging.WARNING)

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        run_agent(opened)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(f"site {opened.settings.name} left the federation", file=sys.stderr)


@app.command()
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
    as_json: JsonOption = False,
) -> None:
    """Predict valence and arousal of a video: a CSV file per frame and a PNG plot."""
    from .confinement import deny_network
    from .predict import predict_video
    from .site import open_site
    from .system_libraries import require_system_libraries

    require_system_libraries()
    deny_network()
    opened = open_site(site) if site is not None else None
    with _progress(video.name, as_json) as progress:
        done = predict_video(video, model, opened, ratings, out, progress)
    if as_json:
        _json("done", csv=str(done.csv), plot=str(done.plot), scaled_by=done.scaled_by)
        return
    print(
        f"model of run {done.card.run}, round {done.card.round}; "
        f"face in {done.valid_frames} of {done.frames} frames"
    )
    if done.scaled_by == "video":
        print(
            "features were standardised by this video's own statistics; --site uses a site's, as in training"
        )
    print(f"wrote {done.csv}")
    print(f"wrote {done.plot}")


@contextmanager
def _progress(name: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, JSON lines for programs, nothing where neither reads."""
    if as_json:
        yield lambda done, total: _json("progress", frames=done, total=total) if done % 25 == 0 else None
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


def _json(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)
