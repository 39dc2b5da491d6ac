"""``mien server``: the operator's commands, each in its own file under :mod:`mien_server.commands`."""

from typing import Final

import click
import typer
from typer.core import TyperGroup

from .commands.approve import approve
from .commands.compare_models import compare_models
from .commands.doctor import doctor
from .commands.enrol import enrol
from .commands.health import health
from .commands.init import init
from .commands.invite import invite
from .commands.list_runs import list_runs
from .commands.models import models
from .commands.promote import promote
from .commands.releases import releases
from .commands.revoke import revoke
from .commands.rollback import rollback
from .commands.rotate_release_key import rotate_key
from .commands.run import run
from .commands.serve_releases import serve
from .commands.show import show
from .commands.sites import sites
from .commands.status import status
from .commands.stop import stop
from .commands.token import token
from .commands.up import up

ORDER: Final = (
    *("init", "invite", "approve", "enrol", "sites", "revoke"),
    *("up", "token", "status", "run", "stop", "list", "show"),
    *("models", "promote", "releases", "rollback", "compare-models"),
    *("health", "doctor"),
)
"""Of the commands in the help text: as an operator meets them."""


class _InOrder(TyperGroup):
    """Typer itself would list a command that has commands of its own last."""

    def list_commands(self, _: click.Context) -> list[str]:
        return sorted(self.commands, key=ORDER.index)


app = typer.Typer(no_args_is_help=True, cls=_InOrder)


@app.callback()
def server() -> None:
    """Run the federation's server: certificates, sites, rounds, models.

    In order: `init` a folder, keep `up` running, `invite` each site (or `approve` its file), then start a
    `run`, watch it by `status`, and `promote` a model that sites should use. `doctor` says what is wrong and
    how to mend it.
    """


for command in (
    *(init, invite, approve, enrol, sites, revoke),
    *(up, token, status, run, stop, show),
    *(models, promote, rollback, compare_models),
    *(health, doctor),
):
    app.command()(command)
app.command("list")(list_runs)
released = typer.Typer(invoke_without_command=True, callback=releases)
released.command()(serve)
released.command()(rotate_key)
app.add_typer(released, name="releases")
