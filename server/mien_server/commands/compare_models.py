"""``mien server compare-models``: two models side by side."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .event_lines import number
from .options import Dir

MODEL = "RUN/ROUND, latest, or a release's version."


def compare_models(
    first: Annotated[str, typer.Argument(metavar="A", help=MODEL)],
    second: Annotated[str, typer.Argument(metavar="B", help=MODEL)],
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Put two models side by side: what they are, how well they do, how far apart their weights lie.

    Two CCCs are comparable only if the same recordings were held out when each was measured.
    """
    from mien_server.folder import open_folder
    from mien_server.publishing.model_choice import any_model
    from mien_server.publishing.model_comparison import compare

    opened = open_folder(folder)
    rows = compare(any_model(opened, first), any_model(opened, second))
    if as_json:
        for row in rows:
            values = {name: None if value != value else value for name, value in vars(row).items()}
            print(json.dumps({**values, "change": row.change}))
        return
    width = max(len(_text(row.first)) for row in rows)
    for row in rows:
        change = f"  {row.change:+.3f}" if row.change is not None else ""
        print(f"{row.what:<34}{_text(row.first):<{width}}  {_text(row.second)}{change}")


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else number(value).strip()
