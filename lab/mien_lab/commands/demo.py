"""``mien lab demo``: a whole federation on this machine."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for all the demo makes; an earlier demo there goes.")
    ] = Path(".demo"),
    participants: Annotated[int, typer.Option(min=2, max=16, help="Sites, each with one puppet.")] = 4,
    sessions: Annotated[
        int, typer.Option(min=2, max=20, help="Sessions per site; the last is held out.")
    ] = 2,
    seconds: Annotated[float, typer.Option(min=15, max=600, help="Length of each session.")] = 30.0,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds of federated training.")] = 15,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed on one machine gives the same figures.")
    ] = 7,
) -> None:
    """Run a whole federation on this machine, from video to published model.

    One Flower server, one agent per site in processes of their own, TLS, enrolled keys, gRPC. The videos
    are a puppeteered photograph: good for testing the whole path, no evidence about people. Ctrl-C stops
    everything.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from mien_server.logs import interrupt_on_signals

    from ..demo import DemoSettings, run_demo
    from ..demo_screen import DemoScreen

    settings = DemoSettings(
        participants=participants, sessions=sessions, seconds=seconds, rounds=rounds, seed=seed
    )
    interrupt_on_signals()
    with DemoScreen() as screen:
        try:
            result = run_demo(settings, out, screen.say, screen.bar, screen.event)
        except KeyboardInterrupt:
            screen.say("stopped; nothing is left running")
            raise typer.Exit(130) from None
        screen.result(result, out)
