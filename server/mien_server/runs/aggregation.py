"""Aggregation: updates are checked one by one, then given to the run's federated rule.

Enters: sites' replies. Leaves: new global weights. An update that does not hold is named and left out.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import ArrayRecord, MetricRecord, RecordDict

from mien_common.architecture import Architecture
from mien_common.errors import FederationError, UpdateRejectedError
from mien_common.messages import ARRAYS, METRICS, NUM_EXAMPLES, TrainReport, unpack
from mien_common.weights import Weights, check_weights, from_record, norm_of
from mien_server.rules.rule import Rule, SiteUpdate
from mien_server.runs.site_words import printable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Update:
    """A site's checked contribution to a round."""

    site: str
    report: TrainReport
    delta: Weights
    """New weights minus the global ones."""
    norm: float
    """Euclidean, of the delta as it came: what the site says of it is not relied on."""


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
    return Update(site, report, delta, norm)


def read_updates(
    contents: Mapping[str, RecordDict], round_: int, architecture: Architecture, max_norm: float
) -> tuple[list[Update], dict[str, str]]:
    """The updates in sites' replies, and why those that are left out do not hold, by site."""
    updates, rejected = [], {}
    for site, content in contents.items():
        try:
            updates.append(read_update(content, site, round_, architecture, max_norm))
        except FederationError as error:
            rejected[site] = printable(f"update rejected: {error}")
            log.warning("event=update_rejected round=%d site=%s reason=%s", round_, site, rejected[site])
    return updates, rejected


def combine(
    weights: Weights, updates: Sequence[Update], rule: Rule, round_: int, architecture: Architecture
) -> Weights:
    """New global weights from ``weights`` and the round's updates.

    Sites are taken in the order of their names, so that the sums, and with them the result, do not
    depend on who answered first.

    Raises
    ------
    FederationError
        There are too few updates for the rule.
    UpdateRejectedError
        The rule gives no weights for these updates, or some that are not finite.
    """
    rule.begin(weights, round_)
    for update in sorted(updates, key=lambda update: update.site):
        rule.add(SiteUpdate(update.site, update.delta, update.report.frames))
    new = rule.finish()
    check_weights(new, architecture)
    return new
