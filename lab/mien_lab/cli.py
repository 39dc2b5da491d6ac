"""``mien lab``: the commands of a researcher, each in its own file under :mod:`mien_lab.commands`."""

import typer

from .commands.au_response import au_response
from .commands.bench import bench
from .commands.calibration_gain import calibration_gain
from .commands.compare import compare
from .commands.demo import demo
from .commands.missing import missing
from .commands.puppet import puppet
from .commands.reidentify import reidentify
from .commands.simulate import simulate

app = typer.Typer(no_args_is_help=True)


@app.callback()
def lab() -> None:
    """Many clients on one machine: comparisons, simulations, demo data, the demo federation, benchmarks."""


# In the order of the help text.
for command in (puppet, calibration_gain, missing, au_response, reidentify, demo, compare, simulate, bench):
    app.command()(command)
