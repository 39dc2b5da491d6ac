"""``mien server``: the operator's commands, each in its own file under :mod:`mien_server.commands`."""

import typer

from .commands.approve import approve
from .commands.doctor import doctor
from .commands.enrol import enrol
from .commands.health import health
from .commands.init import init
from .commands.invite import invite
from .commands.models import models
from .commands.revoke import revoke
from .commands.run import run
from .commands.sites import sites
from .commands.up import up

app = typer.Typer(no_args_is_help=True)


@app.callback()
def server() -> None:
    """Run the federation's server: certificates, sites, rounds, models.

    In order: `init` a folder, keep `up` running, `invite` each site (or `approve` its file), then start a
    `run`. `doctor` says what is wrong and how to mend it.
    """


for command in (  # in the order of the help text
    init,
    up,
    invite,
    approve,
    enrol,
    sites,
    revoke,
    run,
    models,
    doctor,
    health,
):
    app.command()(command)
