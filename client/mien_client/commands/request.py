"""``mien agent request``: ask to be enrolled, by file."""

from pathlib import Path
from typing import Annotated

import typer

from .options import SiteOption


def request(
    name: Annotated[str, typer.Option(help="The site's name: lower case letters, digits, dashes.")],
    site: SiteOption = Path(),
    out: Annotated[
        Path | None, typer.Option(help="Where to write it.", show_default="NAME.request.json here")
    ] = None,
) -> None:
    """Write a request file, for a machine that cannot reach the server yet.

    The key is made here and stays here; the file holds its public half. The operator turns it into a bundle
    (`mien server approve`), and `mien agent accept` takes that.
    """
    from ..joining import write_request

    file = out or Path(f"{name}.request.json")
    fingerprint = write_request(site, name, file)
    print(f"give {file} to the server's operator, who approves it with: mien server approve {file.name}")
    print(f"key  {fingerprint}")
    print("read that line out to the operator: it shows that nobody exchanged the file")
