"""Worker processes, and what they say.

Enters: jobs. Leaves: messages, each with the job it is about. Every worker is given the corpus once, by its
pipe, so that data which take minutes to read or make are read or made once. None outlives this process.
"""

import logging
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from mien_common.errors import MienError
from mien_common.files import storage_errors
from mien_server.logs import interrupts_held_back
from mien_server.processes import end_group, last_line

from .outcome import Job
from .worker import THREADS
from .worker_messages import Advance, Broke, Material, Message, Ready

_OUT_OF_MEMORY: Final = -9


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: Connection
    listener: threading.Thread
    job: Job | None = None
    ready: bool = False


@dataclass(frozen=True)
class _Gone:
    """A worker's pipe has ended."""


class Crew:
    """So many workers at most; a worker is started when there is a job for it."""

    def __init__(self, material: Material, workers: int, log_file: Path) -> None:
        self._material, self._size, self._log_file = material, workers, log_file
        self._workers: dict[int, _Worker] = {}
        self._started = 0
        self._messages: queue.SimpleQueue[tuple[int, Message | _Gone]] = queue.SimpleQueue()
        self._handing_over = threading.Lock()

    @property
    def has_room(self) -> bool:
        """Whether another job can be given out."""
        return self._idle() is not None or len(self._workers) < self._size

    def give(self, job: Job) -> None:
        """Have a worker do ``job``; there must be room."""
        index = self._idle()
        if index is None:
            index = self._start()
        worker = self._workers[index]
        worker.job = job
        if worker.ready:
            self._send(worker, job)

    def next(self, wait_s: float) -> tuple[Job, Message] | None:
        """What a worker says of its job; None when none says anything for ``wait_s``.

        Raises
        ------
        MienError
            A worker cannot even be started.
        """
        try:
            index, message = self._messages.get(timeout=wait_s)
        except queue.Empty:
            return None
        worker = self._workers[index]
        if isinstance(message, _Gone):
            return self._gone(index)
        job = worker.job
        if isinstance(message, Ready):
            worker.ready = True
            if job is not None:
                self._send(worker, job)
            return None
        if job is None:
            raise RuntimeError(f"a worker without a job says {message}")
        if not isinstance(message, Advance):
            worker.job = None
        return job, message

    def stop(self) -> None:
        """End every worker at once; they keep nothing on disk that could suffer."""
        for worker in self._workers.values():
            end_group(worker.process.pid, leader=worker.process)
            worker.process.wait()
            worker.listener.join()
            worker.connection.close()
        self._workers.clear()

    def _idle(self) -> int | None:
        return next((index for index, worker in self._workers.items() if worker.job is None), None)

    def _start(self) -> int:
        ours, theirs = Pipe()
        with storage_errors(self._log_file), self._log_file.open("ab") as log_file, interrupts_held_back():
            # From the main thread: the kernel ties a child's life to the thread that made it.
            process = subprocess.Popen(
                [sys.executable, "-m", "mien_lab.experiments.worker", str(theirs.fileno()), str(os.getpid())],
                env={**os.environ, **THREADS},
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        theirs.close()
        index = self._started
        self._started += 1
        listener = threading.Thread(target=self._listen, args=(index, ours), daemon=True)
        self._workers[index] = _Worker(process, ours, listener)
        listener.start()
        return index

    def _listen(self, index: int, connection: Connection) -> None:
        try:
            with self._handing_over:  # one copy in passing at a time
                connection.send(self._material)
            while True:
                self._messages.put((index, connection.recv()))
        except (EOFError, OSError):
            pass
        finally:
            self._messages.put((index, _Gone()))

    def _send(self, worker: _Worker, job: Job) -> None:
        try:
            worker.connection.send(job)
        except OSError:  # it has just died; its listener will say so
            logging.getLogger(__name__).debug("event=worker_gone pid=%d", worker.process.pid)

    def _gone(self, index: int) -> tuple[Job, Message] | None:
        worker = self._workers.pop(index)
        code = worker.process.wait()
        worker.connection.close()
        said = last_line(self._log_file)
        if not worker.ready:
            raise MienError(
                f"a worker process ended with {code} before its first run: {said}. See {self._log_file}"
            )
        why = (
            "it was killed, perhaps for want of memory. Give fewer --workers"
            if code == _OUT_OF_MEMORY
            else f"see {self._log_file}"
        )
        return None if worker.job is None else (worker.job, Broke(f"its process ended with {code}: {why}."))
