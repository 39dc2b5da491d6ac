"""What ``mien lab`` commands share: JSON lines, a progress bar."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def print_json(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


@contextmanager
def progress_bar(what: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A function that shows frames done and frames in total: a bar, or JSON lines."""
    if as_json:
        yield lambda frames, total: print_json("progress", frames=frames, total=total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(what, total=None)
        yield lambda frames, total: bar.update(task, completed=frames, total=total)
