"""How long the rest of a comparison will take, from what its runs took so far.

Enters: seconds of finished runs, and how far the current ones are. Leaves: seconds, or None before anything
can be said.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .outcome import Job


@dataclass(frozen=True)
class Running:
    """A job in work."""

    job: Job
    done: int
    """Rounds."""
    total: int
    """Rounds at most; 0 before the first."""
    seconds: float
    """Since it began."""

    @property
    def expected_s(self) -> float | None:
        """What it will have taken, should its rounds go on as they went."""
        return self.seconds * self.total / self.done if self.done else None


def seconds_left(
    finished: Mapping[Job, float], running: Sequence[Running], waiting: Sequence[Job], workers: int
) -> float | None:
    """Seconds until all is done, judged by runs of the same model and method, else method, else any."""
    known = dict(finished)
    for one in running:
        if one.expected_s is not None:
            known[one.job] = one.expected_s
    if not known:
        return None
    left = sum(_expected(job, known) for job in waiting)
    for one in running:
        left += max((known.get(one.job) or _expected(one.job, known)) - one.seconds, 0.0)
    return left / max(min(workers, len(running) + len(waiting)), 1)


def _expected(job: Job, known: Mapping[Job, float]) -> float:
    alike: tuple[Callable[[Job], bool], ...] = (
        lambda other: (other.model, other.method) == (job.model, job.method),
        lambda other: other.method == job.method,
        lambda _other: True,
    )
    for like in alike:
        seconds = [took for other, took in known.items() if like(other)]
        if seconds:
            return sum(seconds) / len(seconds)
    raise ValueError("nothing is known")
