"""A process that does runs of a comparison, one after another, on one thread.

Enters, through a pipe from its parent: the corpus and the configuration, once; then jobs. Leaves, through the
same pipe: progress, outcomes, or why there is none. It writes no file. It dies with its parent.
"""

import logging
import signal
import sys
from multiprocessing.connection import Connection
from typing import Final

from mien_common.errors import MienError
from mien_server.processes import die_with

from .outcome import Job
from .worker_messages import Advance, Broke, Ended, Material, Ready

THREADS: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of a worker: as many processes as cores, each with one thread, and sums in one order."""

log = logging.getLogger(__name__)


def work(connection: Connection) -> None:
    """Do jobs until there are no more (None), or the parent is gone."""
    import torch

    torch.set_num_threads(1)
    material = connection.recv()
    connection.send(Ready())
    while (job := connection.recv()) is not None:
        connection.send(_done(job, material, connection))


def _done(job: Job, material: Material, connection: Connection) -> Ended | Broke:
    from .methods import run_job

    def tell(done: int, total: int) -> None:
        connection.send(Advance(done, total))

    try:
        return Ended(run_job(job, material.corpus, material.config, tell))
    except MienError as error:
        return Broke(str(error))
    except MemoryError:
        return Broke("there is not enough memory. Give fewer --workers, or a smaller model.")
    except Exception as error:  # whatever broke, the other runs shall not suffer from it
        log.exception("run broke job=%s", job.id)
        return Broke(f"{type(error).__name__}: {error}. This is a fault of Mien; please report it.")


def main() -> None:
    """``python -m mien_lab.experiments.worker DESCRIPTOR PARENT``: started by :mod:`.crew` only."""
    descriptor, parent = map(int, sys.argv[1:])
    die_with(parent)()
    # Ctrl-C is the parent's to handle: it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    with Connection(descriptor) as connection:
        try:
            work(connection)
        except (EOFError, BrokenPipeError):  # the parent went away
            sys.exit(1)


if __name__ == "__main__":
    main()
