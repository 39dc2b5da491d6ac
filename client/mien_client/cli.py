"""``mien agent``: the commands of a lab machine."""

import typer

app = typer.Typer(no_args_is_help=True, help="On the machine that sees the face: ingest video, train, predict.")


@app.callback()
def agent() -> None:
    """On the machine that sees the face: ingest video, train, predict."""
