"""``mien agent``: the commands of a lab machine, each in its own file under :mod:`mien_client.commands`."""

import typer

from .commands.accept import accept
from .commands.calibrate import calibrate
from .commands.doctor import doctor
from .commands.fetch import fetch
from .commands.ingest import ingest
from .commands.init import init
from .commands.join import join
from .commands.plot import plot
from .commands.predict import predict
from .commands.request import request
from .commands.rotate_key import rotate_key
from .commands.status import status
from .commands.watch import watch

app = typer.Typer(no_args_is_help=True)


@app.callback()
def agent() -> None:
    """On the machine that sees the face: ingest video, train, predict.

    Video is decoded without a network, and faces are found in a process that has none and cannot write
    files. What leaves this machine are model updates and sums, listed in the site's receipts.jsonl.
    """


for command in (  # in the order of the help text
    join,
    calibrate,
    ingest,
    watch,
    plot,
    fetch,
    predict,
    status,
    doctor,
    rotate_key,
    request,
    accept,
    init,
):
    app.command()(command)
