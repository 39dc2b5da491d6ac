"""The rounds of a run: ask the sites to train, average, evaluate, publish; then the next one.

An update's way: :func:`exchange` brings the replies, :func:`read_update` checks each, in
:func:`combine` the run's rule makes new weights of them, a second exchange evaluates these,
:func:`publish_round` publishes them.
"""

import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from flwr.serverapp import Grid

from mien_common.errors import FederationError
from mien_common.messages import ARRAYS, DOCUMENT, EvaluateReport, RoundOrder, pack, unpack
from mien_common.network import build
from mien_common.published import Contribution, ModelCard
from mien_common.schema import AU_V1
from mien_common.versions import versions
from mien_common.weights import Weights, to_record, weights_of
from mien_server.publishing.registry import mend_latest, publish_round, round_folder
from mien_server.rules.choice import rule_from
from mien_server.runs.aggregation import Update, combine, read_update
from mien_server.runs.checkpoint import Checkpoint, Checkpoints
from mien_server.runs.evaluation import agreement, worst_site
from mien_server.runs.exchange import Answers, Clock, exchange, wait_for_sites
from mien_server.runs.journal import Event, Journal, JournalReader, new_event
from mien_server.runs.sampling import sampled
from mien_server.runs.settings import RunSettings

ATTEMPTS: Final = 3
"""A round that stays below its quorum this often in a row ends the run."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Training:
    """What came of asking the sites to train."""

    updates: list[Update]
    failed: dict[str, str]
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class _Evaluation:
    """What came of asking the sites to evaluate."""

    reports: list[EvaluateReport]
    failed: dict[str, str]
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class _Past:
    """What a run that goes on must know of itself beyond its last checkpoint."""

    began: bool
    told: int
    """The last round that the journal tells of."""
    tries: int
    """How often the round after that stayed below its quorum."""
    there: frozenset[str]
    """Sites that were online when the last round began."""


class Rounds:
    """One run over ``grid``; one that was stopped or died goes on where its last published round ended.

    Parameters
    ----------
    enrolled : name of every enrolled site by its node id.
    run : the run's name, for cards.
    models : the registry's folder.
    journal : where events go.
    clock : passed in so that tests need not wait.
    superlink : tells one SuperLink process from the next; see :func:`~mien_server.runs.exchange.exchange`.
    """

    def __init__(
        self,
        grid: Grid,
        enrolled: Mapping[int, str],
        settings: RunSettings,
        run: str,
        models: Path,
        journal: Journal,
        clock: Clock = time,
        superlink: Callable[[], object] = lambda: None,
    ) -> None:
        self._grid = grid
        self._enrolled = enrolled
        self._settings = settings
        self._run = run
        self._models = models
        self._journal = journal
        self._rule = rule_from(settings.rule)
        self._checkpoints = Checkpoints(journal.run, models, run, settings.rule.name)
        self._clock = clock
        self._superlink = superlink

    def conduct(self) -> Weights:
        """All rounds of the run; the final weights.

        Raises
        ------
        FederationError
            Too few sites came, or a round stayed below its quorum three times in a row.
        """
        settings = self._settings
        past = _past(JournalReader(self._journal.run))
        checkpoint = self._checkpoints.last(settings.architecture)
        done = checkpoint.round if checkpoint is not None else 0
        again = past.began or checkpoint is not None
        self._journal.write(
            "resumed" if again else "started",
            run=self._run,
            **({"round": done + 1} if again else {}),
            rounds=settings.rounds,
            rule=settings.rule.name,
            quorum=settings.quorum,
            enrolled=sorted(self._enrolled.values()),
        )
        self._check_enrolled()
        if checkpoint is None:
            weights = weights_of(build(settings.architecture, settings.seed))
        else:
            weights = self._restored(checkpoint, past)
        expected, tries = past.there, past.tries if past.told == done else 0
        for round_ in range(done + 1, settings.rounds + 1):
            weights = self._round_until_quorum(round_, weights, expected, tries)
            expected, tries = frozenset(), 0
        self._journal.write("finished", run=self._run, rounds=settings.rounds)
        return weights

    def _check_enrolled(self) -> None:
        settings = self._settings
        if len(self._enrolled) < self._rule.fewest_sites:
            raise FederationError(
                f"the rule {settings.rule.name}, as it was set, needs updates of at least "
                f"{self._rule.fewest_sites} sites in a round but only {len(self._enrolled)} are enrolled "
                f"({', '.join(sorted(self._enrolled.values())) or 'none'}). Let more in (mien server "
                "invite), or choose another --rule."
            )
        if len(self._enrolled) < settings.quorum:
            raise FederationError(
                f"the quorum is {settings.quorum} but only {len(self._enrolled)} sites are enrolled. "
                "Let more in (mien server invite), or give a smaller --quorum."
            )

    def _restored(self, checkpoint: Checkpoint, past: _Past) -> Weights:
        """The weights to go on from; what was left undone when the process died is done."""
        self._rule.restore(checkpoint.memory)
        mend_latest(self._models, self._run, checkpoint.round)
        if past.told < checkpoint.round:
            self._journal.add(checkpoint.event)
        self._checkpoints.forget_before(checkpoint.round)
        return checkpoint.weights

    def _round_until_quorum(
        self, round_: int, weights: Weights, expected: frozenset[str], tries: int
    ) -> Weights:
        """New weights, after as many attempts as it takes.

        Parameters
        ----------
        expected : sites to wait for, because they were there before the run was interrupted: with others the
            round would have another result.
        tries : attempts at this round before the run was interrupted; which sites are asked depends on it.
        """
        expected &= frozenset(self._enrolled.values())
        reasons: dict[str, str] = {}
        for attempt in range(1, ATTEMPTS + 1):
            sites = wait_for_sites(
                self._grid,
                self._enrolled,
                self._settings.quorum,
                self._settings.wait_s,
                lambda names: self._journal.write(
                    "waiting",
                    round=round_,
                    online=names,
                    quorum=self._settings.quorum,
                    missing=sorted(expected - set(names)),
                ),
                self._clock,
                expected if attempt == 1 else frozenset(),
            )
            if len(sites) < self._settings.quorum:
                raise FederationError(
                    f"round {round_}: {len(sites)} of the {self._settings.quorum} sites needed were online "
                    f"within {self._settings.wait_s:g} s (online: "
                    f"{', '.join(sorted(sites.values())) or 'none'}). "
                    "Are the agents running (mien agent join), and can they reach this server?"
                )
            asked = sampled(sites, self._settings, round_, tries + attempt)
            self._journal.write(
                "round_started",
                round=round_,
                rounds=self._settings.rounds,
                attempt=attempt,
                online=sorted(sites.values()),
                asked=sorted(asked.values()),
            )
            started = self._clock.monotonic()
            training = self._train(round_, weights, asked)
            if len(training.updates) >= self._settings.quorum:
                return self._finish_round(round_, weights, training, sites, started)
            reasons = training.failed
            self._journal.write(
                "round_failed",
                round=round_,
                attempt=attempt,
                attempts=ATTEMPTS,
                quorum=self._settings.quorum,
                sites=_participation([update.site for update in training.updates], reasons),
            )
            log.warning("event=round_failed round=%d attempt=%d reasons=%s", round_, attempt, reasons)
        raise FederationError(
            f"round {round_} stayed below its quorum of {self._settings.quorum} sites {ATTEMPTS} times: "
            + "; ".join(f"{site}: {reason}" for site, reason in reasons.items())
        )

    def _finish_round(
        self, round_: int, weights: Weights, training: _Training, sites: Mapping[int, str], started: float
    ) -> Weights:
        new = combine(weights, training.updates, self._rule, round_, self._settings.architecture)
        trained = self._clock.monotonic()
        evaluation = self._evaluate(round_, new, sites)
        evaluated = self._clock.monotonic()
        ccc = agreement(evaluation.reports)
        card = ModelCard(
            schema_name=AU_V1.name,
            channels=AU_V1.channels,
            rate_hz=AU_V1.rate_hz,
            architecture=self._settings.architecture,
            run=self._run,
            round=round_,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            sites=tuple(
                Contribution(site=update.site, frames=update.report.frames) for update in training.updates
            ),
            ccc=ccc,
            worst_site=worst_site(evaluation.reports),
            weights_bytes=0,
            versions=versions(),
            sha256="0" * 64,
        )
        event = new_event(
            "round",
            round=round_,
            rounds=self._settings.rounds,
            seconds={
                "total": round(self._clock.monotonic() - started, 3),
                "train": round(trained - started, 3),
                "evaluate": round(evaluated - trained, 3),
            },
            sites=_participation([update.site for update in training.updates], training.failed),
            evaluated=_participation([report.site for report in evaluation.reports], evaluation.failed),
            loss=_loss(training.updates),
            ccc={target: found.model_dump() for target, found in ccc.items()},
            bytes_up=training.bytes_up + evaluation.bytes_up,
            bytes_down=training.bytes_down + evaluation.bytes_down,
            model=round_folder(self._models, self._run, round_),
        )
        self._keep(new, card, event)
        return new

    def _keep(self, weights: Weights, card: ModelCard, event: Event) -> None:
        """End a round, in the order that :mod:`mien_server.runs.checkpoint` explains."""
        self._checkpoints.save(card.round, weights, self._rule.state(), event)
        publish_round(self._models, weights, card)
        self._journal.add(event)
        self._checkpoints.forget_before(card.round)

    def _train(self, round_: int, weights: Weights, sites: Mapping[int, str]) -> _Training:
        answers, bytes_down = self._ask("train", round_, weights, sites, self._settings.quorum)
        updates, failed = [], dict(answers.failed)
        for site, content in answers.contents.items():
            try:
                updates.append(
                    read_update(
                        content, site, round_, self._settings.architecture, self._settings.max_update_norm
                    )
                )
            except FederationError as error:
                failed[site] = f"update rejected: {error}"
                log.warning("event=update_rejected round=%d site=%s reason=%s", round_, site, error)
        return _Training(updates, dict(sorted(failed.items())), _bytes_up(answers), bytes_down)

    def _evaluate(self, round_: int, weights: Weights, sites: Mapping[int, str]) -> _Evaluation:
        if not self._settings.evaluate:
            return _Evaluation([], {}, 0, 0)
        # No quorum: those who are there are waited for until the deadline, those who left are not.
        answers, bytes_down = self._ask("evaluate", round_, weights, sites, quorum=0)
        reports, failed = [], dict(answers.failed)
        for site, content in answers.contents.items():
            try:
                report = unpack(content, EvaluateReport)
                if (report.site, report.round) != (site, round_):
                    raise FederationError(f"it is of {report.site!r}, round {report.round}")
                reports.append(report)
            except FederationError as error:
                failed[site] = f"evaluation rejected: {error}"
                log.warning("event=evaluation_rejected round=%d site=%s reason=%s", round_, site, error)
        return _Evaluation(reports, dict(sorted(failed.items())), _bytes_up(answers), bytes_down)

    def _ask(
        self, kind: str, round_: int, weights: Weights, sites: Mapping[int, str], quorum: int
    ) -> tuple[Answers, int]:
        order = RoundOrder(
            architecture=self._settings.architecture,
            run=self._run,
            round=round_,
            seed=self._settings.seed,
            training=self._rule.local_settings(self._settings.training),
        )
        content = RecordDict({DOCUMENT: pack(order), ARRAYS: to_record(weights)})
        answers = exchange(
            self._grid,
            sites,
            content,
            kind,
            str(round_),
            self._settings.deadline_s,
            quorum,
            self._clock,
            self._superlink,
        )
        return answers, _size(content) * len(sites)


def _past(journal: JournalReader) -> _Past:
    began, told, tries, there = False, 0, 0, frozenset[str]()
    for event in journal.new():
        match event["event"]:
            case "started" | "resumed":
                began = True
            case "round_started":
                there = frozenset(event["online"])
            case "round_failed":
                tries += 1
            case "round":
                told, tries = event["round"], 0
    return _Past(began, told, tries, there)


def _loss(updates: Sequence[Update]) -> dict[str, Any]:
    worst = max(updates, key=lambda update: update.report.loss)
    frames = [update.report.frames for update in updates]
    mean = float(np.average([update.report.loss for update in updates], weights=frames))
    return {"mean": mean, "worst": worst.report.loss, "worst_site": worst.site}


def _participation(answered: Sequence[str], failed: Mapping[str, str]) -> dict[str, Any]:
    return {"answered": list(answered), "failed": dict(failed)}


def _bytes_up(answers: Answers) -> int:
    return sum(map(_size, answers.contents.values()))


def _size(content: RecordDict) -> int:
    """Bytes of what a message carries: its arrays and its document."""
    size = 0
    for record in content.values():
        if isinstance(record, ArrayRecord):
            size += sum(len(array.data) for array in record.values())
        elif isinstance(record, ConfigRecord):
            size += sum(len(value) for value in record.values() if isinstance(value, str | bytes))
    return size
