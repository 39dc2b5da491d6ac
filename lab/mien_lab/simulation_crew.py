"""Who trains a simulation's sites: this process, or a few of their own.

Enters: orders. Leaves: answers, always in the order of the sites, whoever gives them and however fast: worker
k of n has blocks k, k + n, … and is listened to when its turn comes. So sums come out the same whatever the
number of workers. None outlives this process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Final, Protocol, TypeVar

from mien_common.errors import MienError
from mien_server.logs import interrupts_held_back, raise_if_interrupted
from mien_server.processes import end_group

from .simulated_visits import (
    Shared,
    Trained,
    TrainOrder,
    Validated,
    ValidateOrder,
    train_sites,
    validate_sites,
)

Answer = TypeVar("Answer", Trained, Validated)

_THREADS: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""As many processes as cores, each with one thread, and sums in one order."""
_KEPT_BYTES: Final = str(64 * 1024 * 1024)
_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES, "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES}
"""The C library keeps a block's memory for the next one: fresh pages would take a quarter of training."""


class Crew(Protocol):
    """Whoever trains sites."""

    @property
    def peaks_mb(self) -> tuple[float, ...]:
        """Largest resident set so far of each process that was started."""
        ...

    def train(self, order: TrainOrder) -> Iterator[Trained]:
        """An answer per site of ``order``, in their order; to be taken to the last."""
        ...

    def validate(self, order: ValidateOrder) -> Iterator[Validated]:
        """Likewise."""
        ...

    def stop(self) -> None:
        """End whatever was started."""
        ...


class InThisProcess:
    """No processes: for a few sites, and to look at the memory they take."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    @property
    def peaks_mb(self) -> tuple[float, ...]:
        """None was started."""
        return ()

    def train(self, order: TrainOrder) -> Iterator[Trained]:
        """See :class:`Crew`, as for the other methods."""
        return train_sites(self._shared, order)

    def validate(self, order: ValidateOrder) -> Iterator[Validated]:
        """One block after another."""
        return validate_sites(self._shared, order)

    def stop(self) -> None:
        """Nothing was started."""


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: Connection
    peak_mb: float = 0.0


class Workers:
    """Processes of one thread each.

    Parameters
    ----------
    count : how many; they are started at once, from the main thread.
    """

    def __init__(self, shared: Shared, count: int) -> None:
        self._workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._workers.append(_started())
            for worker in self._workers:
                worker.connection.send(shared)
        except BaseException:
            self.stop()
            raise

    @property
    def peaks_mb(self) -> tuple[float, ...]:
        """As they said with their last answers."""
        return tuple(worker.peak_mb for worker in self._workers)

    def train(self, order: TrainOrder) -> Iterator[Trained]:
        """See :class:`Crew`, as for the other methods."""
        return self._answers(order, Trained)

    def validate(self, order: ValidateOrder) -> Iterator[Validated]:
        """Shared out in the same way."""
        return self._answers(order, Validated)

    def stop(self) -> None:
        """End every worker at once; they keep nothing that could suffer."""
        for worker in self._workers:
            end_group(worker.process.pid, leader=worker.process)
            worker.process.wait()
            worker.connection.close()
        self._workers.clear()

    def _answers(self, order: TrainOrder | ValidateOrder, kind: type[Answer]) -> Iterator[Answer]:
        count = len(self._workers)
        for index, worker in enumerate(self._workers):
            self._send(worker, replace(order, blocks=order.blocks[index::count]))
        turns = ((number, site) for number, block in enumerate(order.blocks) for site in block)
        for number, site in turns:
            raise_if_interrupted()
            worker = self._workers[number % count]
            answer = self._next(worker)
            if isinstance(answer, MienError):
                raise answer
            if not isinstance(answer, kind) or answer.site != site:
                raise RuntimeError(f"a worker answers for another site than {site}")
            worker.peak_mb = answer.peak_mb
            yield answer

    def _send(self, worker: _Worker, order: TrainOrder | ValidateOrder) -> None:
        try:
            worker.connection.send(order)
        except OSError:
            raise _gone(worker) from None

    def _next(self, worker: _Worker) -> Trained | Validated | MienError:
        try:
            answer: Trained | Validated | MienError = worker.connection.recv()
        except (EOFError, OSError):
            raise _gone(worker) from None
        return answer


def _started() -> _Worker:
    ours, theirs = Pipe()
    with interrupts_held_back():
        # From the main thread: the kernel ties a child's life to the thread that made it.
        process = subprocess.Popen(
            [sys.executable, "-m", "mien_lab.simulation_worker", str(theirs.fileno()), str(os.getpid())],
            env={**os.environ, **_THREADS, **_MEMORY},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        )
    theirs.close()
    return _Worker(process, ours)


def _gone(worker: _Worker) -> MienError:
    code = worker.process.wait()
    why = "perhaps for want of memory; give fewer --workers" if code == -9 else "what it said is above"
    return MienError(f"a worker process of the simulation ended with {code}: {why}.")
