"""``mien server enrol``: a site's key is let in."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def enrol(
    public_key: Annotated[
        Path, typer.Argument(metavar="PUBKEY", help="The site's public key, keys/site.pub in its folder.")
    ],
    name: Annotated[str, typer.Option(help="The site's name, as in its own `mien agent init --name`.")],
    folder: Dir = Path(),
) -> None:
    """Let a site join: from now on the holder of this key, and nobody else, is that site."""
    from mien_server.folder import open_folder
    from mien_server.membership.enrolment import enrol as enrol_site
    from mien_server.membership.registration import register_now

    opened = open_folder(folder)
    site = enrol_site(opened, public_key, name)
    when = "it can join now" if register_now(opened) else "it can join once the server is up"
    print(f"enrolled {site.name} {site.fingerprint}; {when}")
