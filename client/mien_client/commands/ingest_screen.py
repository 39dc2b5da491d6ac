"""What ``mien agent ingest`` shows: a bar and a line per recording, or JSON lines for programs."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mien_common.errors import MienError

from ..ingest import Ingested
from ..ingest_many import Failed, Finished, Skipped, Standing
from ..recordings import Recording
from ..state_words import seen_in_words
from .options import print_json

JSON_EVERY_S: Final = 0.5

_NEUTRAL: Final = {
    "calibration": "neutral face from calibration",
    "running": "neutral face from its first minute",
    "source": "neutral face of its source",
}


class IngestScreen:
    """Shows one ingest, and remembers what became of each recording."""

    def __init__(self, as_json: bool, bar: Progress) -> None:
        self._as_json, self._bar = as_json, bar
        self._task = bar.add_task("ingest", total=None, speed="", names="")
        self._recordings = 0
        self._made = self._skipped = 0
        self._failed: list[tuple[Recording, Failed]] = []
        self._standing: Standing | None = None
        self._last_json = 0.0

    def say(self, line: str) -> None:
        """A line about something that was left out."""
        if self._as_json:
            print_json("note", text=_readable(line))
        else:
            self._print(line)

    def begin(self, recordings: int) -> None:
        self._recordings = recordings
        if self._as_json:
            print_json("start", recordings=recordings)

    def take(self, finished: Finished) -> None:
        """One recording is done with."""
        path, result = finished.recording.path, finished.result
        for note in finished.notes:
            self.say(note)
        match result:
            case Ingested():
                self._made += 1
            case Skipped():
                self._skipped += 1
            case Failed():
                self._failed.append((finished.recording, result))
        if self._as_json:
            _print_result(path, result)
        elif isinstance(result, Ingested):
            self._print(f"session {result.folder.name}: {_in_words(result)}")
        elif isinstance(result, Skipped):
            self._print(f"skipped {path}: {result.reason}")
        elif self._recordings > 1:
            self._print(f"failed {path}")

    def show(self, standing: Standing) -> None:
        """How far all of it is."""
        self._standing = standing
        if self._as_json:
            if time.monotonic() - self._last_json >= JSON_EVERY_S:
                self._last_json = time.monotonic()
                _print_standing(standing)
            return
        speed = f"{standing.frames_per_s:.0f} frames/s" if standing.frames else ""
        names = ", ".join(name for name, _, _ in standing.in_work[:2])
        more = f" and {len(standing.in_work) - 2} more" if len(standing.in_work) > 2 else ""
        of_all = f"{standing.finished}/{standing.recordings} " if standing.recordings > 1 else ""
        self._bar.update(
            self._task,
            completed=standing.frames,
            total=standing.total,
            speed=speed,
            names=_readable(of_all + names + more),
        )

    def interrupted(self) -> None:
        """Ctrl-C: what is left to do."""
        left = self._recordings - self._made - self._skipped - len(self._failed)
        if self._as_json:
            print_json("interrupted", left=left)
        print(
            f"stopped: {left} of {self._recordings} recordings are left, what is finished is kept. "
            "Give the command again to go on.",
            file=sys.stderr,
        )

    def end(self) -> None:
        """The last words, once the bar is gone; ends the command with 1 where a recording failed.

        Raises
        ------
        MienError
            The only recording failed: its error is the command's.
        typer.Exit
            With 1, where some of several failed; with a line for each.
        """
        untried = self._recordings - self._made - self._skipped - len(self._failed)
        if self._as_json:
            print_json(
                "finished", made=self._made, skipped=self._skipped, failed=len(self._failed), untried=untried
            )
        elif self._recordings > 1:
            print(f"{self._made} made, {self._skipped} skipped, {len(self._failed)} failed{self._pace()}")
        if not self._failed:
            return
        if self._recordings == 1:
            raise MienError(self._failed[0][1].reason)
        rest = f"; {untried} were not tried" if untried else ""
        print(f"error: {len(self._failed)} of {self._recordings} recordings failed{rest}:", file=sys.stderr)
        for recording, failure in self._failed:
            named = str(recording.path) in failure.reason
            print(
                f"  {failure.reason}" if named else f"  {recording.path}: {failure.reason}", file=sys.stderr
            )
        raise typer.Exit(1)

    def _pace(self) -> str:
        if self._standing is None or not self._standing.frames:
            return ""
        return f"; {self._standing.frames} frames, {self._standing.frames_per_s:.0f} a second"

    def _print(self, line: str) -> None:
        print(_readable(line), flush=True)


@contextmanager
def ingest_screen(as_json: bool) -> Iterator[IngestScreen]:
    """A screen with a bar on a terminal, and without one elsewhere."""
    console = Console(stderr=True)
    columns = (
        *(BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[speed]}", markup=False)),
        *(TimeRemainingColumn(), TextColumn("{task.fields[names]}", markup=False)),
    )
    # Lines go above the bar where both are on one terminal, and to the file where output goes to one.
    both = sys.stdout.isatty()
    hidden = as_json or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden, redirect_stdout=both) as bar:
        yield IngestScreen(as_json, bar)


def _in_words(made: Ingested) -> str:
    use = (
        "held out, never trained on" if made.held_out else "for training" if made.rated else "without ratings"
    )
    unconfined = "" if made.confined else ", BY AN UNCONFINED FACE PROCESS"
    seen = seen_in_words(made.seen)
    return f"{made.frames} frames at 25 Hz, {seen}, {_NEUTRAL[made.neutral]}, {use}{unconfined}"


def _print_result(path: Path, result: Ingested | Skipped | Failed) -> None:
    file = _readable(str(path))
    match result:
        case Ingested():
            print_json(
                "done",
                file=file,
                session=str(result.folder),
                frames=result.frames,
                valid_frames=result.valid_frames,
                rated=result.rated,
                held_out=result.held_out,
                neutral=result.neutral,
                confined=result.confined,
                seen={state.name.lower(): round(share, 4) for state, share in result.seen.items()},
            )
        case Skipped():
            print_json("skipped", file=file, reason=_readable(result.reason))
        case Failed():
            print_json("failed", file=file, error=_readable(result.reason))


def _print_standing(standing: Standing) -> None:
    print_json(
        "progress",
        frames=standing.frames,
        total=standing.total,
        frames_per_s=round(standing.frames_per_s, 1),
        finished=standing.finished,
        recordings=standing.recordings,
    )


def _readable(text: str) -> str:
    """A file's name may be any bytes."""
    return text.encode(errors="replace").decode()
