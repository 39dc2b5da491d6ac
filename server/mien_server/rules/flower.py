"""Flower's strategies as functions on arrays: what goes in and what comes out of their messages.

A strategy averages whatever arrays its replies carry and keeps their type, so sites' updates go in
instead of whole weights, in double precision; neither changes what it computes, only how exactly.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from mien_common.errors import UpdateRejectedError
from mien_common.messages import ARRAYS, METRICS, NUM_EXAMPLES

from .rule import Arrays


def combined(strategy: FedAvg, replies: Sequence[Mapping[str, NDArray[Any]]]) -> Arrays:
    """What ``strategy`` makes of ``replies``, each of which counts as much as the others.

    The strategy knows no round: of those used here none looks at it.

    Raises
    ------
    UpdateRejectedError
        It makes nothing of them.
    """
    record, _ = strategy.aggregate_train(1, [_reply(arrays) for arrays in replies])
    if record is None:
        raise UpdateRejectedError("the updates could not be combined")
    return {name: np.asarray(array.numpy(), np.float64) for name, array in record.items()}


def _reply(arrays: Mapping[str, NDArray[Any]]) -> Message:
    """What a strategy expects of a site."""
    content = RecordDict({ARRAYS: record_of(arrays), METRICS: MetricRecord({NUM_EXAMPLES: 1})})
    # With metadata of its own: outside a Flower run, as in an experiment, there is no task to take it from.
    metadata = Metadata(
        run_id=0,
        message_id="",
        src_node_id=0,
        dst_node_id=0,
        reply_to_message_id="",
        group_id="",
        created_at=0.0,
        ttl=0.0,
        message_type="train",
    )
    return make_message(metadata, content)


def record_of(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """``arrays`` in double precision, as Flower carries them."""
    return ArrayRecord({name: Array(np.asarray(array, np.float64)) for name, array in arrays.items()})


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Not the count of replies: where the mean is taken here, Flower sees one reply and says so."""
    return not (isinstance(record.args, tuple) and "aggregate_train" in record.args)


logging.getLogger("flwr").addFilter(_worth_a_line)
