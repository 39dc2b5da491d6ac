"""``mien lab missing``: when a face is missing, and whether that is right."""

from pathlib import Path
from typing import Annotated

import typer


def missing(
    clips: Annotated[Path | None, typer.Option(help="Real clips to count too: a folder per person.")] = None,
) -> None:
    """When is a face missing, and is that right? Prints the figures of docs/missing.md.

    How well action units hold as a puppet's face gets smaller and darker; how often a hand before it is
    noticed, and how often one is where there is none. With --clips: what is found in each, and what the
    bare landmarker finds. Takes two minutes, and two more for 20 short clips.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from .. import missing as figures

    def working(what: str) -> None:
        typer.echo(f"  {what} …", err=True)

    puppet_frames = figures.lively_puppet()
    print(f"{'':<16}{'width px':>9}{'light':>7}{'found':>7}{'error':>7}{'jitter':>8}{'CCC':>7}")
    for one in figures.smaller_and_darker(puppet_frames, working):
        print(
            f"{one.condition:<16}{one.width_px:>9.0f}{one.luminance:>7.0f}{one.found:>7.2f}"
            f"{one.error:>7.2f}{one.jitter:>8.3f}{one.ccc:>7.2f}"
        )
    print(f"\n{'a hand over':<16}{'missing':>9}{'falsely':>9}")
    for hand in figures.hands(puppet_frames, working):
        print(f"{hand.part:<16}{hand.missing:>9.2f}{hand.falsely:>9.3f}")
    if clips is None:
        return
    print(f"\n{'clip':<44}{'frames':>7}{'stock':>7}{'found':>7}{'faces':>7}  states")
    for clip in figures.clips(clips, working):
        states = ", ".join(f"{name} {count}" for name, count in sorted(clip.states.items()))
        print(f"{clip.name:<44}{clip.frames:>7}{clip.stock:>7}{clip.found:>7}{clip.faces:>7}  {states}")
