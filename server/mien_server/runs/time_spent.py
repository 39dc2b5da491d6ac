"""Where a round's time goes, over all its attempts.

:class:`mien_server.facts.RoundSeconds` says what counts as what.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from mien_server.runs.clock import Clock

Part = Literal["wait", "aggregate", "evaluate"]


class TimeSpent:
    """The stopwatch of one round; it begins to run when it is made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._parts: dict[str, float] = {"wait": 0.0, "train": 0.0, "transfer": 0.0, "aggregate": 0.0}

    @contextmanager
    def on(self, part: Part) -> Iterator[None]:
        """Whatever is done inside counts as ``part``, also if it fails."""
        started = self._clock.monotonic()
        try:
            yield
        finally:
            self._parts[part] = self._parts.get(part, 0.0) + self._clock.monotonic() - started

    def on_training(self, exchange_s: float, claimed_s: Iterable[float]) -> None:
        """An exchange took so long, and so long, its sites say, they trained: believed up to what it took."""
        longest = min(max(claimed_s, default=0.0), exchange_s)
        self._parts["train"] += longest
        self._parts["transfer"] += exchange_s - longest

    def seconds(self) -> dict[str, float | None]:
        """So far, by part, and in all; None for an evaluation that was not asked for."""
        parts = {name: round(value, 3) for name, value in self._parts.items()}
        total = round(self._clock.monotonic() - self._began, 3)
        return {**parts, "evaluate": parts.get("evaluate"), "total": total}
