"""``mien server releases``: what has been released."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .event_lines import number
from .options import Dir


def releases(
    context: typer.Context,
    folder: Dir = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per release.")] = False,
) -> None:
    """List the releases, lowest version first; `serve` offers them to sites, which `up` does too."""
    if context.invoked_subcommand is not None:
        return
    import datetime as dt

    from mien_common.release import fingerprint
    from mien_server.folder import open_folder
    from mien_server.publishing.release_key import release_key
    from mien_server.publishing.releases import list_releases, refresh_index

    opened = open_folder(folder)
    found = list_releases(opened)
    if found:
        refresh_index(opened, dt.datetime.now(dt.UTC))
    if as_json:
        for release in found:
            facts = {"version": str(release.version), "path": str(release.path), "latest": release.is_latest}
            print(json.dumps({**facts, **release.card.model_dump(mode="json")}))
        return
    if not found:
        print(f"no releases yet in {opened.releases}; `mien server promote RUN/ROUND` makes one")
        return
    for release in found:
        card = release.card
        ccc = "  ".join(f"{target} {number(found.pooled)}" for target, found in card.ccc.items())
        mark = "  <- latest" if release.is_latest else ""
        when = card.release.created[:19] if card.release else card.created[:19]
        print(f"{release.version!s:<12} {when}  {card.run}  round {card.round:<4} CCC (pooled) {ccc}{mark}")
    print(f"signed with the key {fingerprint(release_key(opened.tls).public_key())}")
