"""CCC of every person: under each method, and how each fares from one method to the next.

Enters: contenders on a page. Leaves: a figure. A dot is a person's CCC, the mean over their recordings and
over seeds; who has none, their ratings being constant, has no dot.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mien_common.schema import TARGETS

from .plot_look import GOLD, Page, legend_below, new_figure, plain_ticks, shortened, title
from .scores import Array, mean_over_last, natural
from .statistics import CONFIDENCE, Estimate, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Summaries = Mapping[tuple[str, str], Summary]
"""By model and method."""


def by_method_figure(page: Page, summaries: Summaries) -> "Figure":
    """A line of dots per method, the same person's linked from one to the next; mean and interval beside."""
    from matplotlib.lines import Line2D

    rows = len(page.shown)
    figure = new_figure(0.42 * rows + 1.35)
    axes = figure.subplots(1, len(TARGETS), sharey=True, sharex=True)
    persons = _persons(page)
    heights = np.arange(rows, dtype=np.float64)
    for column, (axis, target) in enumerate(zip(axes, TARGETS, strict=True)):
        values = _values(page, persons, column)
        axis.plot(values, heights, color="0.75", linewidth=0.5, zorder=1)
        for row, shown in enumerate(page.shown):
            dots = values[row]
            axis.plot(
                dots, np.full(len(dots), heights[row]), "o", color=GOLD, markersize=2.6, zorder=2, alpha=0.7
            )
            summary = summaries[shown.contender.model, shown.contender.method]
            _draw_mean(axis, summary.estimates["mean_over_recordings", target], heights[row] + 0.26)
        _ccc_axis(axis, values)
        axis.set_title(target, loc="left")
    axes[0].set_yticks(heights, [shown.tick for shown in page.shown])
    axes[0].set_ylim(rows - 0.45, -0.55)
    plain_ticks(axes[0])
    dot = Line2D([], [], marker="o", color=GOLD if rows == 1 else "0.75", markerfacecolor=GOLD)
    dot.set(markeredgecolor=GOLD, markersize=3, linewidth=0.8, linestyle="" if rows == 1 else "-")
    mean = Line2D([], [], marker="D", color=_MEAN, markersize=4, linewidth=1.4)
    drawn = [summaries[shown.contender.model, shown.contender.method].estimates for shown in page.shown]
    if any(np.isfinite(found.interval.low) for estimates in drawn for found in estimates.values()):
        legend_below(figure, [dot, mean], ["a person", f"mean and {CONFIDENCE:.0%} interval over people"])
    else:
        mean.set_linestyle("")
        legend_below(figure, [dot, mean], ["a person", "mean; too few people for an interval"])
    title(figure, page.title, page.remark)
    return figure


def by_person_figure(page: Page) -> "Figure":
    """A line per person, with a dot per method: who gains and who loses."""
    from matplotlib.lines import Line2D

    persons = _persons(page)
    both = mean_over_last(
        np.stack(
            [mean_over_last(_values(page, persons, column).T) for column in range(len(TARGETS))], axis=-1
        )
    )
    # The best on top; who has no CCC at all below.
    order = np.argsort(-np.nan_to_num(both, nan=-2.0), kind="stable")
    heights = np.arange(len(persons), dtype=np.float64)
    figure = new_figure(0.17 * max(len(persons), 3) + 1.2 + 0.09 * len(page.shown))
    axes = figure.subplots(1, len(TARGETS), sharey=True, sharex=True)
    for column, (axis, target) in enumerate(zip(axes, TARGETS, strict=True)):
        values = _values(page, persons, column)[:, order]
        for height, dots in zip(heights, values.T, strict=True):
            known = dots[np.isfinite(dots)]
            if known.size:
                axis.plot([known.min(), known.max()], [height, height], color="0.75", linewidth=0.9, zorder=1)
        for shown, dots in zip(page.shown, values, strict=True):
            axis.plot(
                dots, heights, shown.marker, color=shown.colour, markersize=4, markeredgecolor="white",
                markeredgewidth=0.4, zorder=2,
            )  # fmt: skip
        _ccc_axis(axis, values)
        axis.set_title(target, loc="left")
    axes[0].set_yticks(heights, [shortened(persons[index], 26) for index in order])
    axes[0].set_ylim(len(persons) - 0.4, -0.6)
    plain_ticks(axes[0])
    handles = [
        Line2D([], [], marker=shown.marker, linestyle="", color=shown.colour, markersize=4.5)
        for shown in page.shown
    ]
    legend_below(figure, handles, [shown.label for shown in page.shown])
    title(figure, page.title, page.remark)
    return figure


_MEAN = "#D55E00"


def _draw_mean(axis: Any, found: Estimate, height: float) -> None:
    if not np.isfinite(found.mean):
        return
    interval = found.interval
    if np.isfinite(interval.low) and np.isfinite(interval.high):
        axis.plot([interval.low, interval.high], [height, height], color=_MEAN, linewidth=1.4, zorder=3)
    axis.plot([found.mean], [height], "D", color=_MEAN, markersize=3.6, zorder=4)


def _ccc_axis(axis: Any, values: Array) -> None:
    axis.set_xlabel("CCC")
    axis.set_axisbelow(True)
    axis.grid(axis="x", color="0.9", linewidth=0.5)
    axis.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    axis.tick_params(axis="y", length=0)
    if not np.isfinite(values).any():
        axis.set_xlim(-0.05, 1)
        axis.text(0.5, 0.5, "no CCC is defined", transform=axis.transAxes, ha="center", va="center")


def _persons(page: Page) -> list[str]:
    return sorted({person for shown in page.shown for person in shown.contender.persons}, key=natural)


def _values(page: Page, persons: list[str], column: int) -> Array:
    """(contenders, persons) CCC; NaN where there is none."""
    values = np.full((len(page.shown), len(persons)), np.nan)
    for row, shown in enumerate(page.shown):
        places = [persons.index(person) for person in shown.contender.persons]
        values[row, places] = shown.contender.person_ccc[:, column]
    return values
