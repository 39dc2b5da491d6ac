"""``mien lab reidentify``: whether people can be found again by their action units."""

from pathlib import Path
from typing import Annotated

import typer


def reidentify(
    clips: Annotated[Path, typer.Argument(help="Clips of real people: a folder per person.")],
) -> None:
    """Measure how often a person is found again among others by action units, as an attacker would.

    The nearest mean is taken for the same person: the second half of a clip among everybody's first halves,
    and a clip among all other clips. Prints hit rates with 95 % intervals, and what guessing would give. It
    takes two minutes for 20 short clips. More people, longer clips or a better attack find more or fewer:
    the figures are of these clips.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from ..reidentification import FORMS, between_clips, read_traces, within_clips

    traces = read_traces(clips, lambda what: typer.echo(f"  {what}", err=True))
    people = {trace.person for trace in traces}
    print(f"{len(people)} people, {len(traces)} clips, {sum(len(trace.raw) for trace in traces)} frames")
    print(f"\n{'action units':<37}{'among':<14}{'found again':>12}{'95 %':>14}{'chance':>8}")
    for name, form in FORMS.items():
        for where, attack in (("same clip", within_clips), ("other clips", between_clips)):
            found = attack(traces, form)
            low, high = found.interval
            of = f"{found.hits} of {found.tries}"
            print(f"{name:<37}{where:<14}{of:>12}{f'{low:.2f}–{high:.2f}':>14}{found.chance:>8.2f}")
