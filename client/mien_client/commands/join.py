"""``mien agent join``: serve the federation; with a code, be enrolled first."""

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DeviceOption, LagOption, SiteOption

if TYPE_CHECKING:
    from ..site import Site


def join(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="[CODE]",
            help="What `mien server invite` printed, to be enrolled first; - reads it from standard input.",
            show_default=False,
        ),
    ] = None,
    site: SiteOption = Path(),
    lag_s: LagOption = None,
    device: DeviceOption = None,
    new_key: Annotated[
        bool,
        typer.Option("--new-key", help="With CODE: give a site that is here already a new key, not its own."),
    ] = False,
    enrol_only: Annotated[
        bool, typer.Option("--enrol-only", help="With CODE: stop once the site is enrolled.")
    ] = False,
) -> None:
    """Join the federation: wait for rounds, train on this site's sessions, send updates. Ctrl-C leaves.

    With a CODE from the server's operator this machine is enrolled first: its key is made here, in DIR,
    which becomes a site where it is none yet, and only the public key is sent, to the server that made the
    code and to no other.
    """
    from mien_common.errors import SettingsError

    from ..site import open_site

    opened = None
    if code is not None:
        opened = _enrolled(code, site, new_key, {"lag_s": lag_s, "device": device})
        if enrol_only:
            return
    elif new_key or enrol_only or lag_s is not None or device is not None:
        raise SettingsError(
            "--new-key, --enrol-only, --lag-s and --device go with a CODE. Ask the operator for one: "
            "mien server invite"
        )
    opened = opened or open_site(site)
    from ..agent import run_agent  # only now: it takes seconds to load

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("flwr").setLevel(logging.WARNING)

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        run_agent(opened)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(f"site {opened.settings.name} left the federation", file=sys.stderr)


def _enrolled(code: str, folder: Path, new_key: bool, chosen: dict[str, object]) -> "Site":
    from mien_common.invitation import read_code

    from ..joining import join_with_code

    invitation = read_code(sys.stdin.readline() if code == "-" else code)
    given = {name: value for name, value in chosen.items() if value is not None}
    made = join_with_code(folder, invitation, new_key=new_key, **given)
    print(
        f"enrolled as {made.settings.name} at {made.settings.server}; the site is {made.folder}", flush=True
    )
    return made
