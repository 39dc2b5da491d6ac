"""Prediction against gold standard over time, for who is predicted best, for the median person and the worst.

Enters: a contender. Leaves: a figure. Where a frame does not count both lines have a gap, on grey.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien_common.schema import TARGETS

from .plot_look import COLOURS, GOLD, SHADE, legend_below, new_figure, shortened, title
from .scores import Array, Contender, RecordingScore, mean_ccc, mean_over_last

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS: Final = 3000
"""Of a trace: more than a picture this wide can show."""
_FEW_POINTS: Final = 60
"""Windows rather than frames: each has a dot."""


@dataclass(frozen=True)
class _Trace:
    time: Array
    prediction: Array
    gold: Array
    """(points, 2) as ``prediction``; NaN where it does not count."""


def traces_figure(contender: Contender, remark: str = "") -> "Figure":
    """Two columns, valence and arousal; a row per person, of the contender's first seed."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    chosen, seed = _chosen(contender), contender.seeds[0]
    recordings = [_first_recording(contender, person, seed) for person in chosen.values()]
    unit, points_a_unit = _unit(recordings)
    figure = new_figure(1.1 * len(chosen) + 0.95)
    axes = figure.subplots(len(chosen), len(TARGETS), sharex=True, sharey=True, squeeze=False)
    limit = 0.25
    for row, (rank, person), (one, _) in zip(axes, chosen.items(), recordings, strict=True):
        trace = _trace(one, points_a_unit)
        limit = max(limit, _reach(trace))
        for column, (axis, target) in enumerate(zip(row, TARGETS, strict=True)):
            score = one.targets[column].ccc
            value = f"CCC {score:.2f}".replace("-", "−") if np.isfinite(score) else "CCC undefined"
            _draw(axis, trace, column)
            axis.set_title(
                f"{target} of {shortened(person, 30)} ({rank}), {value}", loc="left", parse_math=False
            )
    for axis in axes[:, 0]:
        axis.set_ylabel("rating (−1 to 1)")
    for axis in axes[-1]:
        axis.set_xlabel(unit)
    limit = min(float(np.ceil(4 * limit) / 4), 1.5)
    axes[0, 0].set_ylim(-limit, limit)
    handles = [
        Line2D([], [], color=GOLD, linewidth=1.2),
        *(Line2D([], [], color=COLOURS[column], linewidth=0.9) for column in range(len(TARGETS))),
        Patch(color=SHADE),
    ]
    labels = ["gold standard", *(f"prediction, {target}" for target in TARGETS), "does not count"]
    legend_below(figure, handles, labels)
    title(figure, contender.model, contender.method, f"seed {seed}", remark)
    return figure


def _chosen(contender: Contender) -> dict[str, str]:
    """Rank in words → person, by their mean CCC over both targets under the first seed, which is drawn."""
    both = mean_over_last(mean_ccc(contender.ccc_sums[:, 0], contender.ccc_counts[:, 0]))
    best_first = np.argsort(-both, kind="stable")
    order = [contender.persons[index] for index in best_first if np.isfinite(both[index])]
    if not order:
        return {"nobody has a CCC": contender.persons[0]}
    if len(order) == 1:
        return {"the only one": order[0]}
    if len(order) == 2:
        return {"best": order[0], "worst": order[1]}
    return {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}


def _first_recording(contender: Contender, person: str, seed: int) -> tuple[RecordingScore, float | None]:
    runs = sorted(contender.runs, key=lambda run: run.outcome.job.seed != seed)
    return next(
        (one, run.outcome.points_hz)
        for run in runs
        for one in run.recordings
        if one.scored.participant == person
    )


def _unit(recordings: Sequence[tuple[RecordingScore, float | None]]) -> tuple[str, float]:
    """The time's unit, and points in one."""
    rates = {points_hz for _, points_hz in recordings}
    rate = next(iter(rates))
    if len(rates) > 1 or not rate:
        return "point", 1.0
    longest_s = max(len(one.scored.counts) for one, _ in recordings) / rate
    return ("time (min)", 60 * rate) if longest_s > 900 else ("time (s)", rate)


def _trace(one: RecordingScore, points_a_unit: float) -> _Trace:
    counts = one.scored.counts[:, None]
    prediction = np.where(counts, one.scored.prediction, np.nan).astype(np.float64)
    gold = np.where(counts, one.scored.gold, np.nan).astype(np.float64)
    step = max(1, -(-len(counts) // _MOST_POINTS))
    # A point stands in the middle of its frame, or of its window.
    time = np.asarray((np.arange(len(counts)) + 0.5) / points_a_unit, np.float64)
    return _Trace(time[::step], prediction[::step], gold[::step])


def _reach(trace: _Trace) -> float:
    values = np.abs(np.concatenate([trace.prediction, trace.gold]))
    return float(values[np.isfinite(values)].max(initial=0.0))


def _draw(axis: Any, trace: _Trace, column: int) -> None:
    few = len(trace.time) <= _FEW_POINTS
    dots = {"marker": "o", "markersize": 2.2} if few else {}
    axis.axhline(0, color="0.8", linewidth=0.5, zorder=0)
    half = (trace.time[1] - trace.time[0]) / 2 if len(trace.time) > 1 else 0.5
    missing = ~np.isfinite(trace.gold[:, column])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(int)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        axis.axvspan(
            trace.time[start] - half, trace.time[end - 1] + half, color=SHADE, linewidth=0, zorder=-1
        )
    # A prediction per frame is often rough, and would hide a smooth gold standard that lies below it.
    axis.plot(trace.time, trace.gold[:, column], color=GOLD, linewidth=1.2, zorder=3, **dots)
    axis.plot(trace.time, trace.prediction[:, column], color=COLOURS[column], linewidth=0.9, zorder=2, **dots)
    axis.margins(x=0.03 if few else 0)
