"""What ``mien server status`` shows: the run, its curves, the sites and what needs doing, for any width."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from mien_server.facts import CurrentRound, RoundFacts, RunFacts, SiteFacts, Status
from mien_server.runs.site_words import printable
from mien_server.status import ago

from .event_lines import number, when
from .sparkline import ASCII, BLOCKS, sparkline

LABEL_WIDTH: Final = 10
MIN_TEXT_WIDTH: Final = 20
CURVE_WIDTH: Final = 40
LONGEST: Final = 2000
"""Letters of a reason."""
BEHIND_S: Final = 10.0
"""A history that is further behind than this is worth a word."""

STYLES: Final = {
    **{"online": "green", "late": "yellow", "offline": "red", "revoked": "dim", "invited": "dim"},
    **{"never seen": "dim", "running": "green", "finished": "green", "failed": "red", "died": "red"},
    **{"stopped": "yellow", "waiting": "yellow"},
}
PHASES: Final = {
    "waiting": "waiting for sites",
    "train": "sites are training",
    "aggregate": "the new model is being made",
    "evaluate": "sites are trying it",
}

Said = tuple[str, Text]
"""A label, and what stands behind it."""


def status_lines(
    status: Status, rounds: Sequence[RoundFacts], warnings: Sequence[str], console: Console
) -> list[Text]:
    """Everything of ``status``, in lines that fit ``console``.

    Parameters
    ----------
    rounds : those of ``status.run``, for the curves.
    warnings : what the operator should do something about.
    """
    now = dt.datetime.fromisoformat(status.server.time)
    width = console.width
    said = [("server", _server(status))]
    if status.run is None:
        said.append(("run", Text("none yet; `mien server run --rounds N` starts one")))
    else:
        said += _run(status.run)
    if status.now is not None:
        said += _now(status.now, now)
    said += _curves(rounds, width, ASCII if console.options.ascii_only else BLOCKS)
    said += [("queue" if place == 0 else "", Text(_queued(run))) for place, run in enumerate(status.queue)]
    said.append(("release", Text(status.latest_release or "none yet; `mien server promote` makes one")))
    said += [("WARNING", Text(warning, "yellow")) for warning in warnings]
    lines = []
    for label, text in said:
        for place, piece in enumerate(text.wrap(console, max(width - LABEL_WIDTH, MIN_TEXT_WIDTH))):
            piece.rstrip()
            lines.append(Text((label if place == 0 else "").ljust(LABEL_WIDTH)).append_text(piece))
    return [*lines, Text(), *_sites(status.sites, now, width)]


def _server(status: Status) -> Text:
    server = status.server
    if not server.up:
        return Text(f"not running; `mien server up` starts it. Version {server.version}", "red")
    since = f" since {when(server.since)}" if server.since else ""
    behind = server.behind_s is not None and server.behind_s > BEHIND_S
    late = f"; its history is {ago(server.behind_s or 0)} behind" if behind else ""
    return Text(f"up{since}, version {server.version}{late}", "yellow" if behind else "green")


def _run(run: RunFacts) -> Iterator[Said]:
    resumed = f", taken up again {run.resumed} times" if run.resumed > 1 else ", taken up again once"
    line = Text(f"{run.run}  ")
    line.append(run.state, STYLES[run.state])
    yield "run", line.append(f"  {run.rule}, quorum {run.quorum}{resumed if run.resumed else ''}")
    began = f", began {when(run.started)}" if run.started else ""
    ended = f", ended {when(run.ended)}" if run.ended else ""
    yield "rounds", Text(f"{run.rounds_done} of {run.rounds} done{began}{ended}")
    if run.reason:
        yield "why", Text(printable(run.reason, LONGEST), STYLES[run.state])


def _now(now: CurrentRound, clock: dt.datetime) -> Iterator[Said]:
    attempt = f", attempt {now.attempt}" if now.attempt > 1 else ""
    until = ""
    if now.deadline is not None:
        left = (dt.datetime.fromisoformat(now.deadline) - clock).total_seconds()
        until = f", at most {ago(max(left, 0))} more"
    yield "now", Text(f"round {now.round} of {now.rounds}{attempt}: {PHASES[now.phase]}{until}")
    if now.in_words:
        yield "", Text(printable(now.in_words, LONGEST))
    if now.left_s is not None:
        yield "left", Text(f"about {ago(now.left_s)}")


def _curves(rounds: Sequence[RoundFacts], width: int, signs: str) -> Iterator[Said]:
    if not rounds:
        return
    last = rounds[-1]
    curves = (
        ("valence", [found.valence.pooled for found in rounds], last.valence.worst, last.valence.worst_site),
        ("arousal", [found.arousal.pooled for found in rounds], last.arousal.worst, last.arousal.worst_site),
        ("loss", [found.loss.mean for found in rounds], last.loss.worst, last.loss.worst_site),
    )
    for name, values, worst, site in curves:
        line = Text(f"{'' if name == 'loss' else 'CCC':<4}{number(values[-1]):<7}")
        line.append(sparkline(values, min(CURVE_WIDTH, max(width - 50, 8)), signs), "cyan")
        yield name, line if site is None else line.append(f"  worst site {number(worst)} ({site})")


def _queued(run: RunFacts) -> str:
    parts = [f"starts at {when(run.not_before)}"] if run.not_before else []
    parts += [f"behind {', '.join(run.behind)}"] if run.behind else []
    return f"{run.run}  {run.rounds} rounds  {'; '.join(parts)}".rstrip()


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[SiteFacts, dt.datetime], str]


COLUMNS: Final = (
    _Column("site", lambda site, _: site.name),
    _Column("stands", lambda site, _: site.presence),
    _Column("last seen", lambda site, now: _ago(site.last_seen, now)),
    _Column("round", lambda site, _: "-" if site.round is None else str(site.round)),
    _Column("frames", lambda site, _: "-" if site.frames is None else str(site.frames)),
    _Column("valence", lambda site, _: number(site.valence_ccc).strip()),
    _Column("arousal", lambda site, _: number(site.arousal_ccc).strip()),
    _Column("loss", lambda site, _: number(site.loss).strip()),
    _Column("norm", lambda site, _: number(site.update_norm).strip()),
    _Column("device", lambda site, _: printable(site.device or "-")),
    _Column("version", lambda site, _: printable(site.version or "-")),
)
"""In the order of what an operator wants to know; a narrow terminal shows the first of them."""


def _sites(sites: Sequence[SiteFacts], now: dt.datetime, width: int) -> list[Text]:
    if not sites:
        return [Text("no sites yet; let one in: mien server invite --name lab-1")]
    table = [[column.title for column in COLUMNS]]
    table += [[column.cell(site, now) for column in COLUMNS] for site in sites]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    shown = 3  # these are shown however narrow it is
    while shown < len(widths) and sum(widths[: shown + 1]) + 2 * shown <= width:
        shown += 1
    lines = [Text(_row(table[0], widths[:shown]), "bold")]
    for site, cells in zip(sites, table[1:], strict=True):
        line = Text(_row(cells, widths[:shown]))
        begin = widths[0] + 2
        line.stylize(STYLES[site.presence], begin, begin + len(site.presence))
        lines.append(line)
        if site.error:
            lines.append(Text(f"  {printable(site.error)}", "red"))
    return lines


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        cell.ljust(width) for cell, width in zip(cells[: len(widths)], widths, strict=True)
    ).rstrip()


def _ago(moment: str | None, now: dt.datetime) -> str:
    if moment is None:
        return "-"
    return f"{ago(max((now - dt.datetime.fromisoformat(moment)).total_seconds(), 0))} ago"
