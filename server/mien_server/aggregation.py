"""Aggregation: updates are checked one by one, then averaged by one of Flower's strategies.

Enters: sites' replies. Leaves: new global weights. An update that does not hold is named and left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from mien_common.architecture import Architecture
from mien_common.errors import UpdateRejectedError
from mien_common.messages import ARRAYS, METRICS, NUM_EXAMPLES, TrainReport, unpack
from mien_common.weights import Weights, from_record, norm_of, to_record


@dataclass(frozen=True)
class Update:
    """A site's checked contribution to a round."""

    site: str
    report: TrainReport
    delta: Weights
    """New weights minus the global ones."""


class Rule(Protocol):
    """How updates become new global weights; Flower's strategies fit."""

    def aggregate_train(
        self, server_round: int, replies: Sequence[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Combine replies that carry whole weights and their number of examples."""
        ...


def federated_averaging() -> Rule:
    """FedAvg (McMahan et al., 2017): the mean of the sites' weights, weighted by their frames."""
    return FedAvg(weighted_by_key=NUM_EXAMPLES, arrayrecord_key=ARRAYS)


def read_update(
    content: RecordDict, site: str, round_: int, architecture: Architecture, max_norm: float
) -> Update:
    """The update inside a site's reply.

    Parameters
    ----------
    site : the name enrolled for the key that sent it; the report must bear the same.
    round_ : the round it was asked for.
    max_norm : largest Euclidean norm of an update that is taken.

    Raises
    ------
    FederationError
        The report is missing or does not validate.
    UpdateRejectedError
        The report or the arrays cannot belong to this site, round and architecture, or the update is
        too large.
    """
    report = unpack(content, TrainReport)
    if report.site != site:
        raise UpdateRejectedError(f"it calls itself {report.site!r}, but its key is enrolled as {site!r}")
    if report.round != round_:
        raise UpdateRejectedError(f"it is for round {report.round}, asked was round {round_}")
    metrics = content.get(METRICS)
    examples = metrics.get(NUM_EXAMPLES) if isinstance(metrics, MetricRecord) else None
    if examples != report.frames:
        raise UpdateRejectedError(f"it reports {report.frames} frames but asks for the weight of {examples}")
    record = content.get(ARRAYS)
    if not isinstance(record, ArrayRecord):
        raise UpdateRejectedError("it holds no arrays")
    delta = from_record(record, architecture)
    norm = norm_of(delta)
    if norm > max_norm:
        raise UpdateRejectedError(f"its norm is {norm:.4g}, at most {max_norm:.4g} is taken")
    return Update(site, report, delta)


def combine(
    weights: Weights, updates: Sequence[Update], rule: Rule, round_: int, architecture: Architecture
) -> Weights:
    """New global weights from ``weights`` and the round's updates.

    Sites are taken in the order of their names, so that the sums, and with them the result, do not
    depend on who answered first.

    Raises
    ------
    UpdateRejectedError
        The rule gives no weights for these updates, or some that are not finite.
    """
    replies = [
        _as_reply(_add(weights, update.delta), update.report.frames)
        for update in sorted(updates, key=lambda update: update.site)
    ]
    record, _ = rule.aggregate_train(round_, replies)
    if record is None:
        raise UpdateRejectedError(f"round {round_}: the updates could not be combined")
    return from_record(record, architecture)


def _add(weights: Weights, delta: Weights) -> Weights:
    return {name: array + delta[name] for name, array in weights.items()}


def _as_reply(weights: Weights, frames: int) -> Message:
    """What Flower's strategies expect of a site: its whole weights and their number of examples."""
    content = RecordDict({ARRAYS: to_record(weights), METRICS: MetricRecord({NUM_EXAMPLES: frames})})
    return Message(content, dst_node_id=0, message_type="train")
