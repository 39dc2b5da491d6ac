"""``mien server rollback``: another release is the latest."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def rollback(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A release; `releases` lists them.")],
    folder: Dir = Path(),
) -> None:
    """Make an existing release the latest, an earlier one or a later one. No release is removed."""
    import datetime as dt

    from mien_common.release_version import parse_version
    from mien_server.folder import open_folder
    from mien_server.publishing.releases import roll_back

    release = roll_back(open_folder(folder), parse_version(version), dt.datetime.now(dt.UTC))
    print(f"the latest release is {release.version} now")
    print(
        "a site that has a higher one keeps it until somebody there says `mien agent fetch --allow-downgrade`"
    )
