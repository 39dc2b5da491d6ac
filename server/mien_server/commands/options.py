"""Options that several ``mien server`` commands have."""

from pathlib import Path
from typing import Annotated

import typer

Dir = Annotated[
    Path,
    typer.Option("--dir", envvar="MIEN_SERVER_DIR", help="The server's folder, made by `mien server init`."),
]
