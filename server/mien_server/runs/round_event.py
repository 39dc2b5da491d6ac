"""What is told of a round that is done: the card of its model, and its event in the run's journal.

Enters: checked updates and evaluations. Leaves: names of sites and numbers. What a site says of itself (its
loss, its seconds, its device) is its word; what can be measured here (bytes, the update's norm) is.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien_common.messages import EvaluateReport
from mien_common.published import Contribution, ModelCard
from mien_common.schema import AU_V1
from mien_common.versions import versions
from mien_server.runs.aggregation import Update
from mien_server.runs.evaluation import agreement, by_site, spread, spread_over_sites, worst_site
from mien_server.runs.journal import Event, new_event
from mien_server.runs.settings import RunSettings
from mien_server.runs.site_words import printable


@dataclass(frozen=True)
class Training:
    """What came of asking sites to train."""

    asked: tuple[str, ...]
    updates: list[Update]
    failed: dict[str, str]
    """Why a site's update is missing or was rejected."""
    seconds: float
    """The exchange's."""
    bytes_up: dict[str, int]
    bytes_down: dict[str, int]


@dataclass(frozen=True)
class Evaluation:
    """What came of asking sites to evaluate; nothing where none was asked."""

    reports: list[EvaluateReport]
    failed: dict[str, str]
    bytes_up: dict[str, int]
    bytes_down: dict[str, int]


def model_card(
    settings: RunSettings, run: str, round_: int, training: Training, evaluation: Evaluation
) -> ModelCard:
    """The card of the round's model; size and hash of the weights come as they are published."""
    return ModelCard(
        schema_name=AU_V1.name,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        architecture=settings.architecture,
        run=run,
        round=round_,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        sites=tuple(
            Contribution(site=update.site, frames=update.report.frames) for update in training.updates
        ),
        ccc=agreement(evaluation.reports),
        worst_site=worst_site(by_site(evaluation.reports)),
        weights_bytes=0,
        versions=versions(),
        sha256="0" * 64,
    )


def round_event(
    card: ModelCard,
    rounds: int,
    attempts: int,
    training: Training,
    evaluation: Evaluation,
    seconds: Mapping[str, float | None],
    model: Path,
) -> Event:
    """The event ``round``, as docs/runs.md describes it.

    Parameters
    ----------
    attempts : how many it took, those before the run was interrupted among them.
    seconds : where the time went; parts of :class:`mien_server.facts.RoundSeconds`.
    """
    each = by_site(evaluation.reports)
    return new_event(
        "round",
        round=card.round,
        rounds=rounds,
        attempts=attempts,
        asked=sorted(training.asked),
        seconds=dict(seconds),
        sites=participation([update.site for update in training.updates], training.failed),
        evaluated=participation([report.site for report in evaluation.reports], evaluation.failed),
        loss=_loss(training.updates),
        ccc={target: found.model_dump() for target, found in card.ccc.items()},
        worst_site={target: found.model_dump() for target, found in card.worst_site.items()},
        spread=spread_over_sites(each),
        site_ccc={
            site: {target: found.pooled for target, found in targets.items()}
            for site, targets in each.items()
        },
        reports={update.site: _report(update, training, evaluation) for update in training.updates},
        bytes_up=sum(training.bytes_up.values()) + sum(evaluation.bytes_up.values()),
        bytes_down=sum(training.bytes_down.values()) + sum(evaluation.bytes_down.values()),
        model=model,
    )


def participation(answered: Sequence[str], failed: Mapping[str, str]) -> dict[str, Any]:
    """Who answered, and who did not and why."""
    return {"answered": list(answered), "failed": dict(failed)}


def _report(update: Update, training: Training, evaluation: Evaluation) -> dict[str, Any]:
    site, said = update.site, update.report
    return {
        "frames": said.frames,
        "loss": said.loss,
        "update_norm": update.norm,
        "seconds": round(min(said.seconds, training.seconds), 3),
        "device": printable(said.device),
        "version": printable(said.version),
        "bytes_up": training.bytes_up[site] + evaluation.bytes_up.get(site, 0),
        "bytes_down": training.bytes_down[site] + evaluation.bytes_down.get(site, 0),
    }


def _loss(updates: Sequence[Update]) -> dict[str, Any]:
    worst = max(updates, key=lambda update: update.report.loss)
    losses = [update.report.loss for update in updates]
    with np.errstate(over="ignore", invalid="ignore"):  # of a hostile site's 1e308 there is no mean
        mean = float(np.average(losses, weights=[update.report.frames for update in updates]))
    return {
        "mean": mean,
        "worst": worst.report.loss,
        "worst_site": worst.site,
        "spread": spread(losses),
    }
