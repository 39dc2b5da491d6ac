"""``mien server``: the operator's commands, each in its own file under :mod:`mien_server.commands`."""

import typer

from .commands.compare_models import compare_models
from .commands.enrol import enrol
from .commands.health import health
from .commands.init import init
from .commands.models import models
from .commands.promote import promote
from .commands.releases import releases
from .commands.rollback import rollback
from .commands.run import run
from .commands.serve_releases import serve
from .commands.up import up

app = typer.Typer(no_args_is_help=True)


@app.callback()
def server() -> None:
    """Run the federation's server: certificates, sites, rounds, models.

    In order: `init` a folder, give its tls/ca.crt to every site, `enrol` each site's public key, keep
    `up` running, then start a `run`, and `promote` a model that sites should use.
    """


for command in (init, enrol, up, run, models, compare_models, promote):  # in the order of the help text
    app.command()(command)
released = typer.Typer(invoke_without_command=True, callback=releases)
released.command()(serve)
app.add_typer(released, name="releases")
app.command()(rollback)
app.command()(health)
