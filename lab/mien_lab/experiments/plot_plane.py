"""The valence–arousal plane: where the gold standard is, and where the predictions are.

Enters: contenders on a page. Leaves: a figure of one panel for the gold standard and one per method. A method
that shrinks everything to the middle is seen at once.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .plot_look import GOLD, WIDTH_IN, Page, new_figure, title
from .scores import Array, Contender, RunScore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DENSE: Final = 1500
"""Points from which on they are counted per cell rather than drawn."""
_CELLS: Final = 48
_LIMITS: Final = (0.25, 0.5, 0.75, 1.0)


def plane_figure(page: Page) -> "Figure":
    """All test recordings of the first seed, the points that count."""
    panels = [("gold standard", _points(_first_seed(page.shown[0].contender), gold=True))]
    panels += [(shown.tick, _points(_first_seed(shown.contender), gold=False)) for shown in page.shown]
    columns = 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    lines = max(name.count("\n") for name, _ in panels)
    panel_in = (WIDTH_IN - 0.9) / columns - 0.35
    figure = new_figure(rows * (panel_in + 0.45 + 0.12 * lines) + 0.55)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    limit = _limit([points for _, points in panels])
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    cells = None
    for index, (name, points) in enumerate(panels):
        axis = axes.flat[index]
        cells = _draw(axis, points, limit) or cells
        axis.set_title(name, loc="left", parse_math=False)
        if index % columns == 0:
            axis.set_ylabel("arousal (−1 to 1)")
        if index + columns >= len(panels):
            axis.set_xlabel("valence (−1 to 1)")
            axis.tick_params(labelbottom=True)
    if cells is not None:
        figure.colorbar(cells, ax=axes, shrink=0.6, aspect=30, pad=0.02, label="share of points in a cell")
    title(figure, page.title, "test recordings, first seed", page.remark)
    return figure


def _first_seed(contender: Contender) -> list[RunScore]:
    return [run for run in contender.runs if run.outcome.job.seed == contender.seeds[0]]


def _points(runs: Iterable[RunScore], *, gold: bool) -> Array:
    """(points, 2) those that count, each recording once for the gold standard."""
    found: dict[object, Array] = {}
    for run in runs:
        for index, one in enumerate(run.recordings):
            trace = one.scored.gold if gold else one.scored.prediction
            key = one.scored.recording if gold else (run.outcome.job.fold, index)
            found[key] = trace[one.scored.counts].astype(np.float64)
    points: Array = np.concatenate([np.zeros((0, 2)), *found.values()])
    return points[np.isfinite(points).all(axis=1)]


def _limit(panels: Sequence[Array]) -> float:
    """Of both axes: as far as all but one in a thousand points reach; the others are drawn at the edge."""
    reach = [float(np.quantile(np.abs(points), 0.999)) for points in panels if len(points)]
    return next((limit for limit in _LIMITS if max(reach, default=1.0) <= limit), 1.0)


def _draw(axis: Any, points: Array, limit: float) -> Any:
    """The cells, where there are so many points that they are counted; else None."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    cells = None
    axis.axhline(0, color="0.7", linewidth=0.5, zorder=0)
    axis.axvline(0, color="0.7", linewidth=0.5, zorder=0)
    inside = np.clip(points, -limit, limit)
    if len(points) < _DENSE:
        axis.plot(inside[:, 0], inside[:, 1], "o", color=GOLD, markersize=2, alpha=0.5, markeredgewidth=0)
    else:
        edges = np.linspace(-limit, limit, _CELLS + 1)
        count, _, _ = np.histogram2d(inside[:, 0], inside[:, 1], bins=(edges, edges))
        share = np.ma.masked_equal(count.T / len(points), 0)
        cells = axis.pcolormesh(edges, edges, share, cmap="Blues", norm=LogNorm(1e-5, 3e-2), rasterized=True)
    axis.set_xlim(-limit, limit)
    axis.set_ylim(-limit, limit)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MultipleLocator(0.25 if limit == 0.75 else limit / 2))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axis.set_aspect("equal")
    axis.spines[["top", "right"]].set_visible(True)
    return cells
