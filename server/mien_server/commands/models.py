"""``mien server models``: what has been published."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .event_lines import number
from .options import Dir


def models(
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per model.")] = False,
) -> None:
    """List the published models, oldest first."""
    from mien_server.folder import open_folder
    from mien_server.publishing.registry import list_models

    opened = open_folder(folder)
    found = list_models(opened.models)
    if not found and not as_json:
        print(f"no models yet in {opened.models}; `mien server run --rounds N` makes some")
    for model in found:
        card = model.card
        if as_json:
            print(
                json.dumps(
                    {"path": str(model.path), "latest": model.is_latest, **card.model_dump(mode="json")}
                )
            )
        else:
            ccc = "  ".join(f"{target} {number(found.pooled)}" for target, found in card.ccc.items())
            mark = "  <- latest" if model.is_latest else ""
            when, figures = f"{card.created[:19]}  {card.run}", f"CCC (pooled) {ccc}"
            print(f"{when}  round {card.round:<4} {figures}  {model.path}{mark}")
