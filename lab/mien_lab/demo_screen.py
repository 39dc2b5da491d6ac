"""What the demo shows in a terminal: stages, a bar, a line per round, the final table."""

import shlex
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from mien_lab.baselines import Score
from mien_lab.demo import DemoResult


class DemoScreen:
    """Shows a running demo; a bar only where somebody watches."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames"),
        )
        self._progress = Progress(
            *columns,
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line; what a bar showed before it is over."""
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()
        self._console.print(line, markup=False)

    def bar(self, name: str, done: int, total: int) -> None:
        """Move a bar."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def event(self, event: dict[str, Any]) -> None:
        """Show an event of the run: a line per round."""
        if event["event"] == "round":
            if event["round"] == 1:
                self.say("  CCC on held-out sessions, mean over recordings")
                self._console.print(
                    "  round   time  sites   loss  valence  arousal        up      down",
                    style="bold",
                    markup=False,
                )
            sites, ccc = event["sites"], event["ccc"]
            answered, asked = len(sites["answered"]), len(sites["answered"]) + len(sites["failed"])
            self._console.print(
                f"  {event['round']:>5}  {event['seconds']['total']:4.1f} s  {answered:>3}/{asked}  "
                f"{event['loss']['mean']:5.3f}  {_number(ccc['valence'])}  {_number(ccc['arousal'])}  "
                f"{event['bytes_up'] / 1e3:5.0f} kB  {event['bytes_down'] / 1e3:5.0f} kB",
                markup=False,
            )
            for site, reason in (sites["failed"] | event["evaluated"]["failed"]).items():
                self.say(f"         {site}: {reason}")
        elif event["event"] == "round_failed":
            self.say(f"  {event['round']:>5}  below its quorum, tried again: {event['sites']['failed']}")

    def result(self, result: DemoResult, out: Path) -> None:
        """The final table, and where to look."""
        table = Table(
            title="CCC on held-out sessions, mean over recordings", title_justify="left", title_style="bold"
        )
        table.add_column("")
        table.add_column("valence", justify="right")
        table.add_column("arousal", justify="right")
        rows: list[tuple[str, Score]] = [
            ("federated", result.federated),
            ("each site alone (mean)", result.local_mean),
            ("mean predictor", result.mean_predictor),
        ]
        for name, score in rows:
            table.add_row(name, _three(score.valence), _three(score.arousal))
        self.say("")
        self._console.print(table)
        seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result.seconds.items())
        self.say(f"time: {seconds}")
        up, down = result.bytes_up / 1e6, result.bytes_down / 1e6
        self.say(f"sent: {up:.1f} MB up, {down:.1f} MB down, model updates only")
        self.say(f"published model: {result.model}")
        self.say(f"figures: {out / 'summary.json'}")
        site, video = out / "sites" / "lab-1", out / "videos" / "participant-01" / "session-02.avi"
        predict = [sys.argv[0], "agent", "predict", video, "--ratings", video.with_suffix(".csv")]
        predict += ["--model", result.model, "--site", site, "--out", out]
        self.say("try it:")
        self.say("  " + shlex.join(map(str, predict)))
        server = [sys.argv[0], "server", "up", "--dir", out / "server"]
        self.say("its rounds, models and log on a page (log in with what `mien server token` prints):")
        self.say("  " + shlex.join(map(str, server)))


def _three(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # adding 0 turns −0.000 into 0.000


def _number(value: dict[str, float | None]) -> str:
    number = value["mean_over_recordings"]
    return "      -" if number is None else f"{number:7.3f}"
