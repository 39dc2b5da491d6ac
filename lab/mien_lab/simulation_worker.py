"""A process that visits simulated sites, on one thread.

Enters, through a pipe from its parent: what all sites share, once; then orders. Leaves, through the same
pipe: an answer per site. The pipe holds only so much, so a process that is ahead of the others waits, and
memory does not grow. It dies with its parent.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from mien_common.errors import MienError
from mien_server.processes import die_with

from .simulated_visits import (
    Shared,
    Trained,
    TrainOrder,
    Validated,
    ValidateOrder,
    train_sites,
    validate_sites,
)


def work(connection: Connection) -> None:
    """Follow orders until the parent is gone."""
    import torch

    torch.set_num_threads(1)
    shared: Shared = connection.recv()
    while True:
        order: TrainOrder | ValidateOrder = connection.recv()
        answers: Iterator[Trained | Validated]
        if isinstance(order, TrainOrder):
            answers = train_sites(shared, order)
        else:
            answers = validate_sites(shared, order)
        try:
            for answer in answers:
                connection.send(answer)
        except MienError as error:
            connection.send(error)


def main(arguments: Sequence[str]) -> None:
    """``python -m mien_lab.simulation_worker DESCRIPTOR PARENT``: started by :mod:`.simulation_crew` only."""
    descriptor, parent = map(int, arguments)
    die_with(parent)()
    # Ctrl-C is the parent's to handle: it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(descriptor) as connection:
        try:
            work(connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent went away
            sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
