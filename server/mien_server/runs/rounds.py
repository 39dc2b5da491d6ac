"""The rounds of a run: ask the sites to train, average, evaluate, publish; then the next one.

An update's way: :class:`~mien_server.runs.questions.Questions` brings the replies, :func:`read_updates`
checks each, in :func:`combine` the run's rule makes new weights of them, which the sites then evaluate;
:func:`publish_round` publishes them, and :func:`round_event` tells of it all.
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from flwr.serverapp import Grid

from mien_common.errors import FederationError
from mien_common.network import build
from mien_common.weights import Weights, weights_of
from mien_server.publishing.registry import mend_latest, publish_round, round_folder
from mien_server.rules.choice import rule_from
from mien_server.runs.aggregation import combine, read_updates
from mien_server.runs.checkpoint import Checkpoint, Checkpoints
from mien_server.runs.clock import Clock
from mien_server.runs.evaluation import read_reports
from mien_server.runs.exchange import wait_for_sites
from mien_server.runs.journal import Journal, JournalReader
from mien_server.runs.past import Past, read_past
from mien_server.runs.progress import LiveProgress
from mien_server.runs.questions import Questions
from mien_server.runs.round_event import Evaluation, Training, model_card, participation, round_event
from mien_server.runs.sampling import sampled
from mien_server.runs.settings import RunSettings
from mien_server.runs.time_spent import TimeSpent

ATTEMPTS: Final = 3
"""A round that stays below its quorum this often in a row ends the run."""

log = logging.getLogger(__name__)


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
        training = self._rule.local_settings(settings.training)
        self._questions = Questions(grid, settings, run, training, clock, superlink)
        self._progress = LiveProgress(journal.run, clock)

    def conduct(self) -> Weights:
        """All rounds of the run; the final weights.

        Raises
        ------
        FederationError
            Too few sites came, or a round stayed below its quorum three times in a row.
        """
        self._progress.end()  # of an earlier life that was killed
        try:
            return self._conduct()
        finally:
            self._progress.end()

    def _conduct(self) -> Weights:
        settings = self._settings
        past = read_past(JournalReader(self._journal.run))
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

    def _restored(self, checkpoint: Checkpoint, past: Past) -> Weights:
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
        spent = TimeSpent(self._clock)
        reasons: dict[str, str] = {}
        for attempt in range(1, ATTEMPTS + 1):
            with spent.on("wait"):
                sites = self._wait(round_, attempt, expected if attempt == 1 else frozenset())
            asked = sampled(sites, self._settings, round_, tries + attempt)
            self._journal.write(
                "round_started",
                round=round_,
                rounds=self._settings.rounds,
                attempt=attempt,
                online=sorted(sites.values()),
                asked=sorted(asked.values()),
            )
            training = self._train(round_, attempt, weights, sites, asked, spent)
            if len(training.updates) >= self._settings.quorum:
                with spent.on("aggregate"):
                    new = combine(weights, training.updates, self._rule, round_, self._settings.architecture)
                evaluation = self._evaluate(round_, attempt, new, sites, spent)
                self._finish_round(round_, tries + attempt, new, training, evaluation, spent)
                return new
            reasons = training.failed
            self._journal.write(
                "round_failed",
                round=round_,
                attempt=attempt,
                attempts=ATTEMPTS,
                quorum=self._settings.quorum,
                sites=participation([update.site for update in training.updates], reasons),
            )
            log.warning("event=round_failed round=%d attempt=%d reasons=%s", round_, attempt, reasons)
        raise FederationError(
            f"round {round_} stayed below its quorum of {self._settings.quorum} sites {ATTEMPTS} times: "
            + "; ".join(f"{site}: {reason}" for site, reason in reasons.items())
        )

    def _wait(self, round_: int, attempt: int, expected: frozenset[str]) -> dict[int, str]:
        """Sites that are online, once they are enough; says who is there while it waits."""
        quorum, wait_s = self._settings.quorum, self._settings.wait_s
        told: list[list[str]] = []

        def waiting(names: list[str]) -> None:
            missing = sorted(expected - set(names))
            if not told:
                self._progress.begin("waiting", round_, attempt, wait_s, online=names, missing=missing)
            self._progress.present(names, missing)
            if told != [names]:
                self._journal.write("waiting", round=round_, online=names, quorum=quorum, missing=missing)
                told[:] = [names]

        sites = wait_for_sites(self._grid, self._enrolled, quorum, wait_s, waiting, self._clock, expected)
        if len(sites) < quorum:
            raise FederationError(
                f"round {round_}: {len(sites)} of the {quorum} sites needed were online "
                f"within {wait_s:g} s (online: {', '.join(sorted(sites.values())) or 'none'}). "
                "Are the agents running (mien agent join), and can they reach this server?"
            )
        return sites

    def _train(
        self,
        round_: int,
        attempt: int,
        weights: Weights,
        sites: Mapping[int, str],
        asked: Mapping[int, str],
        spent: TimeSpent,
    ) -> Training:
        limit_s, online, names = self._settings.deadline_s, sites.values(), tuple(asked.values())
        self._progress.begin("train", round_, attempt, limit_s, online, names)
        replies = self._questions.train(round_, weights, asked, self._progress.answers)
        self._progress.begin(
            *("aggregate", round_, attempt, None, online, names),
            answered=replies.contents,
            failed=replies.failed,
        )
        with spent.on("aggregate"):
            updates, rejected = read_updates(
                replies.contents, round_, self._settings.architecture, self._settings.max_update_norm
            )
        spent.on_training(replies.seconds, [update.report.seconds for update in updates])
        failed = dict(sorted((replies.failed | rejected).items()))
        self._progress.answers([update.site for update in updates], failed)
        return Training(names, updates, failed, replies.seconds, replies.bytes_up, replies.bytes_down)

    def _evaluate(
        self, round_: int, attempt: int, weights: Weights, sites: Mapping[int, str], spent: TimeSpent
    ) -> Evaluation:
        if not self._settings.evaluate:
            return Evaluation([], {}, {}, {})
        names = sites.values()
        self._progress.begin("evaluate", round_, attempt, self._settings.deadline_s, names, names)
        with spent.on("evaluate"):
            replies = self._questions.evaluate(round_, weights, sites, self._progress.answers)
        reports, rejected = read_reports(replies.contents, round_)
        failed = dict(sorted((replies.failed | rejected).items()))
        return Evaluation(reports, failed, replies.bytes_up, replies.bytes_down)

    def _finish_round(
        self,
        round_: int,
        attempts: int,
        weights: Weights,
        training: Training,
        evaluation: Evaluation,
        spent: TimeSpent,
    ) -> None:
        """End a round, in the order that :mod:`mien_server.runs.checkpoint` explains."""
        card = model_card(self._settings, self._run, round_, training, evaluation)
        model = round_folder(self._models, self._run, round_)
        rounds = self._settings.rounds
        event = round_event(card, rounds, attempts, training, evaluation, spent.seconds(), model)
        with spent.on("aggregate"):
            self._checkpoints.save(round_, weights, self._rule.state(), event)
            publish_round(self._models, weights, card)
        self._journal.add({**event, "seconds": spent.seconds()})
        self._checkpoints.forget_before(round_)
