"""All plots of a comparison.

Enters: contenders and their summaries. Leaves: for each plot a PNG for the screen and a PDF for a paper.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien_common.files import make_folder, write_atomic

from .plot_curves import curves_figure
from .plot_look import FORMATS, Page, file_name, look, pages, rendered
from .plot_people import by_method_figure, by_person_figure
from .plot_plane import plane_figure
from .plot_traces import traces_figure
from .statistics import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PERSONS: Final = 60
"""In the plot that names each; the others have no such limit."""
MOST_TRACES: Final = 24
"""Contenders whose traces are drawn: those of the highest mean CCC, where there are more."""
_MOST_ROWS: Final = 24
"""Of the plot by method, which needs no colour to tell its rows apart."""
_KINDS: Final = ("ccc-by-method", "ccc-by-person", "learning-curves", "plane", "traces-")


def draw_all(folder: Path, summaries: Sequence[Summary], remark: str = "") -> tuple[Path, ...]:
    """Draw everything into ``folder``, and say which files there are; PNG files first of each pair.

    Plots of an earlier comparison that this one does not have are removed.

    Parameters
    ----------
    remark : stands in every plot's title, such as that the data are synthetic.

    Raises
    ------
    StorageError
        They cannot be written.
    """
    if not summaries:
        return ()
    make_folder(folder)
    files = []
    with look():
        for name, figure in _figures(summaries, remark):
            for form in FORMATS:
                file = folder / f"{name}.{form}"
                write_atomic(file, rendered(figure, form))
                files.append(file)
    for old in folder.iterdir():
        if old not in files and old.name.startswith(_KINDS) and old.suffix[1:] in FORMATS:
            old.unlink()
    return tuple(files)


def _figures(summaries: Sequence[Summary], remark: str) -> Iterator[tuple[str, "Figure"]]:
    everyone = [one.contender for one in summaries]
    by_names = {(one.contender.model, one.contender.method): one for one in summaries}
    for page in pages(everyone, remark, _MOST_ROWS):
        yield _named("ccc-by-method", page), by_method_figure(page, by_names)
    for page in pages(everyone, remark):
        if len({person for shown in page.shown for person in shown.contender.persons}) <= MOST_PERSONS:
            yield _named("ccc-by-person", page), by_person_figure(page)
        if any(run.outcome.rounds for shown in page.shown for run in shown.contender.runs):
            yield _named("learning-curves", page), curves_figure(page)
        yield _named("plane", page), plane_figure(page)
    for number, one in enumerate(_best(summaries), start=1):
        names = file_name(f"{one.contender.model}-{one.contender.method}")
        yield f"traces-{number:02d}-{names}", traces_figure(one.contender, remark)


def _named(kind: str, page: Page) -> str:
    return f"{kind}-{page.name}" if page.name else kind


def _best(summaries: Sequence[Summary]) -> Sequence[Summary]:
    if len(summaries) <= MOST_TRACES:
        return summaries

    def mean(one: Summary) -> float:
        both = [found.mean for (rule, _), found in one.estimates.items() if rule == "mean_over_recordings"]
        return -float(np.mean(np.nan_to_num(both, nan=-1.0)))

    return sorted(summaries, key=mean)[:MOST_TRACES]
