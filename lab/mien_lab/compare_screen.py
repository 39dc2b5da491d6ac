"""What ``mien lab compare`` shows: a live screen in a terminal, lines elsewhere, JSON lines for programs.

Enters: what happens to a comparison. Leaves: text, in which synthetic data are called so from first to last.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mien_lab.experiments.comparison import Result, Standing
from mien_lab.experiments.config import Config
from mien_lab.experiments.outcome import Job, Outcome
from mien_lab.experiments.scores import RunScore, score_run
from mien_lab.experiments.table_so_far import Row, table_so_far

_RUNNING_SHOWN: Final = 8


class _Scored:
    """The runs so far, each scored once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._every: Sequence[Job] = ()
        self._scores: dict[Job, RunScore] = {}

    def began(self, every: Sequence[Job], done: Mapping[Job, Outcome]) -> None:
        self._every = every
        self._scores = {job: score_run(outcome) for job, outcome in done.items()}

    def add(self, outcome: Outcome) -> None:
        self._scores[outcome.job] = score_run(outcome)

    def rows(self) -> tuple[Row, ...]:
        return table_so_far(self._config, self._every, self._scores)

    def of(self, job: Job) -> Row:
        """The row that a run is in."""
        return next(row for row in self.rows() if (row.model, row.method) == (job.model, job.method))


class CompareScreen:
    """For a person: a bar, the runs in work and the table as it grows; lines where nobody watches."""

    def __init__(self, config: Config, note: str) -> None:
        self._config, self._note = config, note
        self._console = Console(highlight=False, soft_wrap=True)
        self._scored = _Scored(config)
        self._rows: tuple[Row, ...] = ()
        self._standing: Standing | None = None
        self._live = Live(
            console=self._console, refresh_per_second=4, transient=True, get_renderable=self._view
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line above the screen."""
        self._console.print(line, markup=False)

    def began(self, every: Sequence[Job], done: Mapping[Job, Outcome], workers: int) -> None:
        self._scored.began(every, done)
        self._rows = self._scored.rows()
        self.say(f"{self._config.name}: {len(every)} runs, {len(done)} done before, {workers} at a time")
        if self._note:
            self.say(self._note)

    def finished(self, outcome: Outcome, standing: Standing) -> None:
        self._scored.add(outcome)
        self._rows, self._standing = self._scored.rows(), standing
        if not self._console.is_terminal:
            left = "" if standing.seconds_left is None else f", {in_words(standing.seconds_left)} left"
            row = self._scored.of(outcome.job)
            self.say(
                f"{standing.done}/{standing.total}{left}: {outcome.job.id} in {in_words(outcome.seconds)}; "
                f"{row.method} with {row.model} so far: valence {_three(row.mean_over_recordings[0])}, "
                f"arousal {_three(row.mean_over_recordings[1])}"
            )

    def failed(self, job: Job, reason: str, standing: Standing) -> None:
        self._standing = standing
        self.say(f"failed: {job.id}: {reason}")

    def moved(self, standing: Standing) -> None:
        self._standing = standing

    def result(self, result: Result, out: Path) -> None:
        """The last table, and where to look."""
        self._console.print(self._table())
        if self._note:
            self.say(self._note)
        if result.report is not None:
            self.say(f"report: {result.report.files[0]}")
        if result.interrupted:
            self.say(f"stopped; what is done is kept in {out}, and the same command goes on from there")

    def _view(self) -> Group:
        parts: list[Table | Text] = [self._table()]
        if (now := self._standing) is not None:
            left = (
                "time left not known yet"
                if now.seconds_left is None
                else f"{in_words(now.seconds_left)} left"
            )
            failed = f", {now.failed} failed" if now.failed else ""
            parts.append(Text(f"{now.done} of {now.total} runs done{failed}, {left}"))
            bar = Table.grid()  # by itself a bar does not end its line
            bar.add_row(ProgressBar(total=now.total, completed=now.done + now.failed, width=60))
            parts.append(bar)
            for one in now.running[:_RUNNING_SHOWN]:
                rounds = f"round {one.done} of {one.total}" if one.done else "preparing"
                parts.append(Text(f"  {one.job.id}: {rounds}, {in_words(one.seconds)}"))
            if len(now.running) > _RUNNING_SHOWN:
                parts.append(Text(f"  and {len(now.running) - _RUNNING_SHOWN} more"))
        return Group(*parts)

    def _table(self) -> Table:
        synthetic = ", synthetic data" if "synthetic" in self._note.lower() else ""
        table = Table(
            title=f"CCC on test people{synthetic}: mean over recordings (pooled)",
            title_justify="left",
            title_style="bold",
        )
        for name in ("model", "method"):
            table.add_column(name)
        for name in ("runs", "valence", "arousal"):
            table.add_column(name, justify="right")
        for row in self._rows:
            runs = str(row.runs) if row.done == row.runs else f"{row.done}/{row.runs}"
            values = [
                f"{_three(mean)} ({_three(pooled)})"
                for mean, pooled in zip(row.mean_over_recordings, row.pooled, strict=True)
            ]
            table.add_row(row.model, row.method, runs, *values)
        return table


class JsonLines:
    """For programs: an object per line, each with ``event``."""

    def __init__(self, config: Config, note: str) -> None:
        self._config, self._note = config, note
        self._scored = _Scored(config)
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, line: str) -> None:
        _json("note", text=line)

    def began(self, every: Sequence[Job], done: Mapping[Job, Outcome], workers: int) -> None:
        self._scored.began(every, done)
        _json(
            "began",
            name=self._config.name,
            note=self._note,
            runs=len(every),
            done_before=len(done),
            workers=workers,
        )

    def finished(self, outcome: Outcome, standing: Standing) -> None:
        self._scored.add(outcome)
        row = self._scored.of(outcome.job)
        _json(
            "finished",
            **_named(outcome.job),
            seconds=round(outcome.seconds, 3),
            chosen_round=outcome.chosen_round,
            fitted=outcome.fitted,
            **_so_far(row),
            **_far(standing),
        )

    def failed(self, job: Job, reason: str, standing: Standing) -> None:
        _json("failed", **_named(job), reason=reason, **_far(standing))

    def moved(self, standing: Standing) -> None:
        if time.monotonic() - self._told >= 1.0:
            self._told = time.monotonic()
            running = [
                {"run": one.job.id, "round": one.done, "rounds": one.total} for one in standing.running
            ]
            _json("progress", running=running, **_far(standing))

    def result(self, result: Result, out: Path) -> None:
        """The last line."""
        _json(
            "ended",
            note=self._note,
            interrupted=result.interrupted,
            failed={job.id: reason for job, reason in result.failed.items()},
            table=[{"model": row.model, "method": row.method, **_so_far(row)} for row in self._scored.rows()],
            out=str(out),
            files=[str(file) for file in result.report.files] if result.report else [],
        )


def in_words(seconds: float) -> str:
    """5 s, 12 min, 3.2 h, 2.5 d."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def _json(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}, allow_nan=False), flush=True)  # noqa: T201


def _named(job: Job) -> dict[str, object]:
    return {"run": job.id, "model": job.model, "method": job.method, "seed": job.seed, "fold": job.fold}


def _so_far(row: Row) -> dict[str, object]:
    return {
        "runs_done": row.done,
        "runs": row.runs,
        "ccc_mean_over_recordings": _pair(row.mean_over_recordings),
        "ccc_pooled": _pair(row.pooled),
    }


def _far(standing: Standing) -> dict[str, object]:
    left = standing.seconds_left
    return {
        "done": standing.done,
        "total": standing.total,
        "failures": standing.failed,
        "seconds_left": None if left is None else round(left, 1),
    }


def _pair(values: tuple[float, float]) -> dict[str, float | None]:
    """NaN as null."""
    valence, arousal = (None if math.isnan(value) else round(value, 6) for value in values)
    return {"valence": valence, "arousal": arousal}


def _three(value: float) -> str:
    return "–" if math.isnan(value) else f"{round(value, 3) + 0.0:.3f}"  # adding 0 turns −0.000 into 0.000
