"""A recorder at work, and what it should have written by the journals themselves: counted by other code."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien_common.errors import StorageError
from mien_server.folder import ServerFolder
from mien_server.history.reader import History
from mien_server.history.recorder import Recorder
from mien_server.server_events import events_file

PATIENCE_S = 60.0
LOGGED = {
    *("started", "resumed", "waiting", "round", "round_failed", "finished", "stopped", "failed", "died"),
}
Told = tuple[str, str | None, int | None, str | None]
"""Kind, run, round, site."""


@contextmanager
def recording(folder: ServerFolder, look_s: float = 0.01) -> Iterator[Recorder]:
    """A recorder that looks a hundred times a second, in a thread."""
    recorder = Recorder(folder, look_s)
    thread = threading.Thread(target=recorder.run)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]


def told_by_journals(folder: ServerFolder) -> Counter[Told]:
    """Every event that should be in the log, but for those of presence and the queue."""
    told: Counter[Told] = Counter()
    for file in folder.runs.glob("*/rounds.jsonl"):
        run = file.parent.name
        for line in lines_of(file):
            if line["event"] in LOGGED:
                told[line["event"], run, line.get("round"), None] += 1
            if line["event"] in ("round", "round_failed"):
                failed = {*line["sites"]["failed"], *line.get("evaluated", {}).get("failed", {})}
                told.update(("dropped", run, line["round"], site) for site in failed)
    if events_file(folder).exists():
        for line in lines_of(events_file(folder)):
            told[line["event"], line.get("run"), line.get("round"), line.get("site")] += 1
    return told


def told_by_history(history: History) -> Counter[Told]:
    events = history.events(after=0, limit=1_000_000)
    assert [event.id for event in events] == sorted({event.id for event in events})
    aside = {"joined", "late", "left", "queued"}
    return Counter(
        (event.kind, event.run, event.round, event.site) for event in events if event.kind not in aside
    )


def rounds_by_journals(folder: ServerFolder) -> dict[tuple[str, int], tuple[float, int]]:
    """Mean loss of every round, and how many sites had a part in it."""
    found = {}
    for file in folder.runs.glob("*/rounds.jsonl"):
        for line in lines_of(file):
            if line["event"] == "round":
                sites = {*line["asked"], *line["evaluated"]["answered"], *line["evaluated"]["failed"]}
                found[file.parent.name, line["round"]] = line["loss"]["mean"], len(sites)
    return found


def rounds_by_history(history: History) -> dict[tuple[str, int], tuple[float | None, int]]:
    found = {}
    for run in history.runs(1_000_000):
        parts = Counter(part.round for part in history.site_rounds(run.run, limit=1_000_000))
        for row in history.rounds(run.run, limit=1_000_000):
            found[run.run, row.round] = row.loss.mean, parts[row.round]
    return found


def has_runs(history: History) -> bool:
    try:
        return bool(history.runs())
    except StorageError:
        return False


def is_whole(folder: ServerFolder, history: History) -> bool:
    try:
        return told_by_history(history) == told_by_journals(folder)
    except StorageError:
        return False


def check_whole(folder: ServerFolder, history: History) -> None:
    """Everything that the journals tell is in the history, once."""
    assert told_by_history(history) == told_by_journals(folder)
    assert rounds_by_history(history) == rounds_by_journals(folder)
