"""``mien lab calibration-gain``: whether a neutral face helps."""

from pathlib import Path
from typing import Annotated

import typer


def calibration_gain(
    clips: Annotated[
        Path | None,
        typer.Option(help="Real clips to measure too: a folder per person, at least two clips in each."),
    ] = None,
) -> None:
    """Measure whether a neutral face helps: how far people differ when they do the same thing.

    Two puppets with different resting faces show the same six expressions; the figures are mean distances
    between their action units, on the scale of 0 to 5. With --clips: standard deviations between people
    of their clips' median action units. Takes a minute, and two more for 20 short clips.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from ..calibration_gain import Agreement, between_people, between_puppets

    def row(what: str, found: Agreement) -> str:
        return f"{what:<34}{found.raw:>7.3f}{found.running:>10.3f}{found.calibration:>14.3f}"

    print(f"{'':<34}{'raw':>7}{'running':>10}{'calibration':>14}")
    print(row("two puppets, first 12 s of film", between_puppets(rest_s=6.0, hold_s=1.0, rounds=1)))
    print(row("the same, after a minute", between_puppets(rest_s=6.0, hold_s=1.0, rounds=5)))
    if clips is not None:
        found, people, films = between_people(clips, lambda _: None)
        print(row(f"{people} people, {films} clips", found))
