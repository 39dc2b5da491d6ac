"""``mien agent join``: serve the federation."""

import logging
import signal
import sys
from pathlib import Path

from .options import SiteOption


def join(site: SiteOption = Path()) -> None:
    """Join the federation: wait for rounds, train on this site's sessions, send updates. Ctrl-C leaves."""
    from ..site import open_site

    opened = open_site(site)
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
