"""``mien server``: the operator's commands, each in its own file under :mod:`mien_server.commands`."""

import typer

from .commands.enrol import enrol
from .commands.health import health
from .commands.init import init
from .commands.list_runs import list_runs
from .commands.models import models
from .commands.run import run
from .commands.show import show
from .commands.stop import stop
from .commands.up import up

app = typer.Typer(no_args_is_help=True)


@app.callback()
def server() -> None:
    """Run the federation's server: certificates, sites, rounds, models.

    In order: `init` a folder, give its tls/ca.crt to every site, `enrol` each site's public key, keep
    `up` running, then start a `run`; `list`, `show` and `stop` are for runs.
    """


app.command()(init)  # in the order of the help text
app.command()(enrol)
app.command()(up)
app.command()(run)
app.command("list")(list_runs)
app.command()(show)
app.command()(stop)
app.command()(models)
app.command()(health)
