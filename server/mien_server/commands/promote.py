"""``mien server promote``: a published model becomes a release."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def promote(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="RUN/ROUND, as in 2026-11-23-001/12, or latest; `models` lists them."
        ),
    ],
    version: Annotated[
        str | None,
        typer.Option(
            help="Like 1.0.0, or 1.1.0-rc.1 for a trial, which sites fetch by its version only.",
            show_default="the highest one's next minor; 1.0.0 at first",
        ),
    ] = None,
    folder: Dir = Path(),
) -> None:
    """Make a release of a published model, for sites to fetch: signed, and never changed again.

    It holds the model as safetensors and as ONNX, and a card for programs and one for people.
    """
    import datetime as dt

    from mien_common.release_version import parse_version
    from mien_server.folder import open_folder
    from mien_server.publishing.model_choice import published_model
    from mien_server.publishing.releases import promote as promote_model

    opened = open_folder(folder)
    wanted = parse_version(version) if version is not None else None
    release = promote_model(opened, published_model(opened, model), wanted, dt.datetime.now(dt.UTC))
    print(
        f"released {release.version}: run {release.card.run}, round {release.card.round}, in {release.path}"
    )
    if release.is_latest:
        print("it is the latest now: `mien agent fetch` brings it to a site")
    else:
        why = "a trial" if release.version.is_preview else "not the highest version"
        print(
            f"it is {why}, so the latest stays; sites get it with `mien agent fetch {release.version}`, and "
            f"`mien server rollback {release.version}` makes it the latest"
        )
