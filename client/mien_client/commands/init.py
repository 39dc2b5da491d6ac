"""``mien agent init``: make a site."""

from pathlib import Path
from typing import Annotated

import typer

from mien_common.errors import SettingsError


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make for this site.")],
    name: Annotated[str, typer.Option(help="The site's name: lower case letters, digits, dashes.")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the server is.")],
    ca: Annotated[Path, typer.Option(help="The server's tls/ca.crt, from its operator.")],
    release_key: Annotated[
        Path | None,
        typer.Option(
            help="The server's tls/release.pub, from its operator, by which this site knows its releases. "
            "Without it the first `mien agent fetch` asks the server, and keeps what it says."
        ),
    ] = None,
    lag_s: Annotated[
        float, typer.Option(help="How far ratings trail the face, seconds (1 to 6 is usual).")
    ] = 2.0,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu or cuda.")] = "auto",
) -> None:
    """Make this site's folder and its key. The private key never leaves it."""
    from pydantic import ValidationError

    from ..site import SiteSettings, create_site, first_problem

    try:
        settings = SiteSettings.model_validate(
            {"name": name, "server": server, "lag_s": lag_s, "device": device}
        )
    except ValidationError as error:
        raise SettingsError(first_problem(error)) from error
    site = create_site(folder, settings, ca, release_key)
    print(f"site {settings.name} made in {folder}")
    print(f"give {site.public_key_file} to the server's operator, who enrols it with:")
    print(f"  mien server enrol {site.public_key_file.name} --name {settings.name}")
