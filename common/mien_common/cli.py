"""The ``mien`` command: one door, with only the rooms that are installed behind it."""

import importlib
import io
import os
import signal
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from mien_common.errors import MienError
from mien_common.flower_environment import QUIET_FLOWER

_ROOMS = (
    ("agent", "mien_client.cli"),
    ("server", "mien_server.cli"),
    ("lab", "mien_lab.cli"),
)


def _version(wanted: bool) -> None:
    if wanted:
        from mien_common.versions import MIEN_VERSION

        print(f"mien {MIEN_VERSION}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """The command with the sub-commands of every installed room."""
    app = typer.Typer(
        name="mien",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def mien(
        _: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Federated learning of valence and arousal from faces.

        No face ever leaves the machine that saw it: an agent turns video into action-unit traces on
        its own machine, trains there, and sends only model updates.
        """

    for name, module in _ROOMS:
        if find_spec(module.partition(".")[0]) is not None:
            app.add_typer(importlib.import_module(module).app, name=name)
    return app


def _missing_extra(package: str | None) -> str:
    """What to install when a room's own packages are missing."""
    extra = {"agent": "client", "lab": "lab"}.get(sys.argv[1], "server")
    return (
        f"error: this command needs the package {package}. Install Mien with it: pip install 'mien[{extra}]'"
    )


def main() -> None:
    """Run the command; an error a person can act on is one line and exit code 1, never a traceback."""
    os.environ.update(QUIET_FLOWER)
    # A shell script starts its background jobs with SIGINT ignored; ours must still stop when told.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show "é" shows "?"
    try:
        build_app()()
    except KeyboardInterrupt:
        sys.exit(130)
    except MienError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mien"):
            raise
        print(_missing_extra(error.name), file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output went away, as `mien ... | head` does
        sys.stderr.close()
        sys.exit(1)
