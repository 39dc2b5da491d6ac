"""``mien lab``: demo data, the demo federation, benchmarks."""

import typer

app = typer.Typer(no_args_is_help=True, help="Many clients on one machine: demo data, the demo federation, benchmarks.")


@app.callback()
def lab() -> None:
    """Many clients on one machine: demo data, the demo federation, benchmarks."""
