"""A comparison: models × methods × seeds × folds, over the cores of this machine.

Enters: a configuration, its corpus and a folder. Leaves: a folder per run as soon as it is done, and a report
of all that are. A run that failed is named and the others go on; one that is there is not made again.
"""

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

from mien_client.device import choose_device
from mien_common.errors import SettingsError
from mien_lab.corpora.corpus import Corpus
from mien_server.logs import raise_if_interrupted

from .comparison_folder import ComparisonFolder, folder_name, open_folder
from .config import Config
from .crew import Crew
from .feasibility import refuse_impossible
from .outcome import Job, Outcome
from .raters import RatedAgreement, agreements
from .report import Report, write_report
from .splits import folds
from .time_left import Running, seconds_left
from .worker_messages import Advance, Broke, Ended, Material

TICK_S: Final = 0.1
REPORT_EVERY_S: Final = 60.0
"""A partial report is written this often, at most."""
REPORT_SHARE: Final = 0.05
"""Nor more often than takes this share of the time."""


@dataclass(frozen=True)
class Standing:
    """How far a comparison is."""

    total: int
    done: int
    """Those that were there already among them."""
    failed: int
    seconds_left: float | None
    running: tuple[Running, ...]


class Audience(Protocol):
    """Who is told; always from the thread that runs the comparison."""

    def began(self, every: Sequence[Job], done: Mapping[Job, Outcome], workers: int) -> None:
        """All runs, those that are there already, processes at a time."""
        ...

    def say(self, line: str) -> None:
        """One sentence for a person."""
        ...

    def finished(self, outcome: Outcome, standing: Standing) -> None:
        """A run is done and kept."""
        ...

    def failed(self, job: Job, reason: str, standing: Standing) -> None:
        """A run could not be done."""
        ...

    def moved(self, standing: Standing) -> None:
        """Called about ten times a second."""
        ...


@dataclass(frozen=True)
class Result:
    """What came of it."""

    outcomes: tuple[Outcome, ...]
    failed: Mapping[Job, str]
    report: Report | None
    """None when no run was done."""
    interrupted: bool


def jobs(config: Config, corpus: Corpus) -> tuple[Job, ...]:
    """All runs of ``config``, in the order in which they are made: rows of the table fill one by one.

    Raises
    ------
    SettingsError
        The configuration asks for something that cannot be.
    """
    every = folds(corpus, config.split)
    refuse_impossible(config, corpus, every)
    made = tuple(
        Job(model.name, method.name, seed, fold.name)
        for seed in config.seeds
        for model in config.models
        for method in config.methods
        for fold in every
    )
    places: dict[str, Job] = {}
    for job in made:
        twin = places.setdefault(folder_name(job).casefold(), job)
        if twin != job:
            raise SettingsError(
                f"the runs {twin.id} and {job.id} would be kept in one folder, {folder_name(job)}. "
                "Rename a participant, a model or a method."
            )
    return made


def workers_for(config: Config, wanted: int | None) -> int:
    """Processes at a time: one per core, on a GPU one.

    Raises
    ------
    SettingsError
        The configuration asks for CUDA and there is none.
    """
    try:
        device = choose_device(config.device)
    except SettingsError:
        raise SettingsError(
            'device: "cuda" is asked for and this machine has no usable GPU. Set device = "auto" or "cpu".'
        ) from None
    if wanted is not None:
        return wanted
    return 1 if device.type == "cuda" else len(os.sched_getaffinity(0))


def run_comparison(
    config: Config, corpus: Corpus, out: Path, workers: int, audience: Audience, *, fresh: bool = False
) -> Result:
    """Make all runs that are not in ``out`` yet.

    Ctrl-C (and SIGTERM, see :func:`mien_server.logs.interrupt_on_signals`) ends the workers; what is done is
    kept and reported.

    Raises
    ------
    SettingsError
        The configuration cannot be, or ``out`` holds another comparison.
    StorageError
        ``out`` cannot be written: the disk is full, or not ours.
    """
    every = jobs(config, corpus)
    with open_folder(out, config, corpus, fresh=fresh) as folder:
        outcomes, damaged = folder.finished(every)
        audience.began(every, outcomes, workers)
        for line in damaged:
            audience.say(f"made again: {line}")
        state = _State(config, corpus, folder, audience, every, outcomes, workers)
        crew = Crew(Material(corpus, config), workers, folder.workers_log)
        interrupted = False
        try:
            state.conduct(crew)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            crew.stop()
        audience.say("stopping; writing the report of what is done" if interrupted else "writing the report")
        report = state.report(final=not interrupted)
        folder.close(state.failed, report.files if report else ())
        done = tuple(outcomes[job] for job in every if job in outcomes)
        return Result(done, state.failed, report, interrupted)


@dataclass
class _State:
    """A comparison while it runs."""

    config: Config
    corpus: Corpus
    folder: ComparisonFolder
    audience: Audience
    every: tuple[Job, ...]
    outcomes: dict[Job, Outcome]
    workers: int
    failed: dict[Job, str] = field(default_factory=dict)
    running: dict[Job, Running] = field(default_factory=dict)
    began: dict[Job, float] = field(default_factory=dict)
    waiting: deque[Job] = field(default_factory=deque)

    @cached_property
    def raters(self) -> tuple[RatedAgreement, ...]:
        """How far they agree, worked out for the first report."""
        return agreements(self.corpus)

    def conduct(self, crew: Crew) -> None:
        """Give out all jobs that are not done, and take what comes of them."""
        self.waiting.extend(job for job in self.every if job not in self.outcomes)
        report_at = time.monotonic() + REPORT_EVERY_S
        shown = 0.0
        while self.waiting or self.running:
            raise_if_interrupted()
            while self.waiting and crew.has_room:
                job = self.waiting.popleft()
                self.began[job] = time.monotonic()
                self.running[job] = Running(job, 0, 0, 0.0)
                crew.give(job)
            said = crew.next(TICK_S)
            if said is not None:
                job, message = said
                if isinstance(message, Advance):
                    self.running[job] = Running(job, message.done, message.total, self._seconds(job))
                elif isinstance(message, Ended):
                    self._take(message.outcome)
                elif isinstance(message, Broke):
                    self._give_up(job, message.reason)
            now = time.monotonic()
            if now - shown > TICK_S:
                self.audience.moved(self.standing())
                shown = now
            if now > report_at and self.outcomes:
                self.report(final=False)
                took = time.monotonic() - now
                report_at = time.monotonic() + max(REPORT_EVERY_S, took / REPORT_SHARE)

    def standing(self) -> Standing:
        """As it is now."""
        running = tuple(
            Running(one.job, one.done, one.total, self._seconds(one.job)) for one in self.running.values()
        )
        took = {job: outcome.seconds for job, outcome in self.outcomes.items()}
        left = seconds_left(took, running, list(self.waiting), self.workers)
        return Standing(len(self.every), len(self.outcomes), len(self.failed), left, running)

    def report(self, *, final: bool) -> Report | None:
        """Write what there is to say; None when there is nothing."""
        if not self.outcomes:
            return None
        notes = [self.corpus.note] if self.corpus.note else []
        if self.failed:
            notes.append(
                f"{len(self.failed)} of {len(self.every)} runs failed and are not in here: "
                f"{', '.join(job.id for job in list(self.failed)[:3])}{' …' if len(self.failed) > 3 else ''}."
            )
        done = [self.outcomes[job] for job in self.every if job in self.outcomes]
        return write_report(
            self.folder.out, self.config, done, " ".join(notes), final=final, raters=self.raters
        )

    def _take(self, outcome: Outcome) -> None:
        self.folder.save(outcome)
        self.outcomes[outcome.job] = outcome
        del self.running[outcome.job]
        self.audience.finished(outcome, self.standing())

    def _give_up(self, job: Job, reason: str) -> None:
        self.failed[job] = reason
        del self.running[job]
        self.audience.failed(job, reason, self.standing())

    def _seconds(self, job: Job) -> float:
        return time.monotonic() - self.began[job]
