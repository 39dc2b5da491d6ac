"""``mien server``: the operator's commands."""

import typer

app = typer.Typer(no_args_is_help=True, help="Run the federation's server: certificates, sites, rounds, models.")


@app.callback()
def server() -> None:
    """Run the federation's server: certificates, sites, rounds, models."""
