"""Learning curves: training loss and validation CCC per round, mean and spread over folds and seeds.

Enters: contenders on a page. Leaves: a figure.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from mien_common.schema import TARGETS

from .plot_look import Page, legend_below, new_figure, title
from .scores import Array, Contender

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST_RUNS: Final = 0.5
"""Share of the runs that must still be training for a round to be drawn: the mean of the few that go on would
be another group's."""


def curves_figure(page: Page) -> "Figure":
    """Three panels side by side, a line per method, a band of ± one standard deviation over its runs."""
    figure = new_figure(2.5 + 0.13 * len(page.shown))
    axes = figure.subplots(1, 1 + len(TARGETS))
    names = ["training loss", *(f"validation CCC, {target}" for target in TARGETS)]
    handles = []
    faint = 0.13 if len(page.shown) <= 4 else 0.06  # many bands over each other would hide the lines
    for shown in page.shown:
        rounds, mean, spread = curve(shown.contender)
        for column, axis in enumerate(axes):
            dot = {"marker": shown.marker, "markersize": 3} if len(rounds) < 3 else {}
            (line,) = axis.plot(
                rounds,
                mean[:, column],
                color=shown.colour,
                linestyle=shown.dash,
                linewidth=1.3,
                zorder=3,
                **dot,
            )
            low, high = mean[:, column] - spread[:, column], mean[:, column] + spread[:, column]
            axis.fill_between(rounds, low, high, color=shown.colour, alpha=faint, linewidth=0, zorder=2)
        handles.append(line)
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name, loc="left")
        axis.set_xlabel("round")
        axis.grid(axis="y", color="0.9", linewidth=0.5)
        axis.set_axisbelow(True)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("loss")
    axes[1].set_ylabel("CCC")
    legend_below(figure, handles, [shown.label for shown in page.shown])
    runs = max(len(shown.contender.runs) for shown in page.shown)
    title(figure, page.title, "mean ± SD over folds and seeds" if runs > 1 else "one run", page.remark)
    return figure


def curve(contender: Contender) -> tuple[Array, Array, Array]:
    """(rounds,) numbers, (rounds, 3) mean and (rounds, 3) SD of loss, validation CCC of valence and arousal.

    Infinite and undefined values are left out; a round that fewer than half of the runs reached is.
    """
    by_round: dict[int, list[tuple[float, float, float]]] = {}
    for run in contender.runs:
        for point in run.outcome.rounds:
            by_round.setdefault(point.round, []).append((point.loss, *point.validation))
    training = sum(bool(run.outcome.rounds) for run in contender.runs)
    rounds = sorted(number for number, points in by_round.items() if len(points) >= _FEWEST_RUNS * training)
    mean, spread = np.full((len(rounds), 3), np.nan), np.zeros((len(rounds), 3))
    for index, number in enumerate(rounds):
        for column, values in enumerate(np.array(by_round[number]).T):
            known = values[np.isfinite(values)]
            if known.size:
                mean[index, column] = known.mean()
                spread[index, column] = known.std(ddof=1) if known.size > 1 else 0.0
    return np.array(rounds, np.float64), mean, spread
