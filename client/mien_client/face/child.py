"""One running face process as its parent sees it: started, spoken to by deadlines, ended.

Enters: RGB frames into shared memory, requests into a pipe. Leaves: replies. Never leaves: the frames;
they are overwritten when the process ends. :class:`~mien_client.face.process.FaceProcess` decides when
to start another.
"""

import json
import mmap
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import ConfinementError, FaceProcessDiedError

from .frame_memory import anonymous_memory
from .protocol import FAILED, PAYLOAD_LIMIT_BYTES, READY, REPLY, REQUEST, Outcome, slots_of

_ENVIRONMENT: Final = {
    "GLOG_minloglevel": "3",
    "OMP_NUM_THREADS": "1",
    # MediaPipe allocates and frees hundreds of small things a frame: less time where glibc keeps some of
    # them. Not a thousand of each: those fill up one after another, for 70 MB over half an hour.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=100",
}
_READ_BYTES: Final = 4096
"""Many replies; no more, for Python takes the memory for all of it first."""


class FaceChild:
    """A face process that is starting, or runs; see :meth:`ready`.

    Parameters
    ----------
    slot_bytes : the largest frame it takes.
    outcome : see :class:`~mien_client.face.process.FaceProcess`.
    confined : False only where the user allowed it in so many words.

    Raises
    ------
    ConfinementError
        No process can be started.
    """

    def __init__(self, slot_bytes: int, outcome: Outcome, confined: bool) -> None:
        self.slot_bytes = slot_bytes
        self.slots = slots_of(slot_bytes)
        self.is_ready = False
        self.confinement: dict[str, object] = {}
        """How it is confined, in its own words; known once it is ready."""
        self._touched_bytes = 0
        size = self.slots * slot_bytes
        memory = anonymous_memory(size)
        try:
            self._memory = mmap.mmap(memory, size)
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-B", "-m", "mien_client.face.worker"),
                    *(str(memory), str(slot_bytes), outcome, "confined" if confined else "unconfined"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # MediaPipe's chatter; errors of ours come as FAILED replies
                pass_fds=(memory,),
                env=_ENVIRONMENT | {"PATH": os.environ.get("PATH", "")},
                start_new_session=True,  # a Ctrl-C reaches the agent, which then ends the child in order
            )
        except OSError as error:
            raise ConfinementError(f"the face process cannot be started: {error}. Try again.") from error
        finally:
            os.close(memory)
        self._frames: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        self._unread = b""
        self._poll = select.poll()  # unlike select(), it takes any descriptor
        self._poll.register(_pipe(self._process.stdout), select.POLLIN)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def slot(self, number: int, height: int, width: int) -> NDArray[np.uint8]:
        """(height, width, 3) of shared memory, to write a frame into."""
        size = height * width * 3
        self._touched_bytes = max(self._touched_bytes, size)
        start = number * self.slot_bytes
        return self._frames[start : start + size].reshape(height, width, 3)

    def send(self, kind: int, slot: int, timestamp_ms: int, height: int, width: int) -> None:
        """Write one request; a full pipe would hold hundreds, and no more than ``slots`` are ever open."""
        try:
            os.write(
                _pipe(self._process.stdin).fileno(), REQUEST.pack(kind, slot, timestamp_ms, height, width)
            )
        except OSError as error:
            raise self._died() from error

    def ready(self, deadline_s: float) -> bool:
        """Whether it takes frames now; waits up to ``deadline_s``.

        Raises
        ------
        ConfinementError
            It says why it never will: it cannot be confined, or its model is damaged.
        FaceProcessDiedError
            It ended without a word.
        """
        if not self.is_ready:
            if not self._poll.poll(1000 * deadline_s):
                return False
            payload = self.receive(READY, deadline_s=5.0)
            self.confinement = json.loads(payload)
            self.is_ready = True
        return True

    def receive(self, wanted: int, deadline_s: float) -> bytes:
        """The payload of one reply of the kind ``wanted``.

        Raises
        ------
        FaceProcessDiedError
            It died, did not answer in time, or answered what cannot be; it is ended.
        ConfinementError
            It gave up before it was ready, for the reason in the message.
        """
        end = time.monotonic() + deadline_s
        kind, length = REPLY.unpack(self._read(REPLY.size, end))
        if length > PAYLOAD_LIMIT_BYTES or kind not in (wanted, FAILED):
            self.kill()
            raise FaceProcessDiedError(f"the face process sent a reply of kind {kind} and {length} bytes")
        payload = self._read(length, end)
        if kind == FAILED:
            reason = str(json.loads(payload)["error"])
            raise ConfinementError(reason) if wanted == READY else FaceProcessDiedError(reason)
        return payload

    def kill(self) -> None:
        """End the process, whatever it is doing; its frames stay until :meth:`close`."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and overwrite the frames."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                _pipe(pipe).close()
        for number in range(self.slots):
            start = number * self.slot_bytes
            self._frames[start : start + self._touched_bytes] = 0

    def _read(self, size: int, end: float) -> bytes:
        """The next ``size`` bytes; what came with them is kept for the next call."""
        while len(self._unread) < size:
            if not self._poll.poll(1000 * max(end - time.monotonic(), 0.0)):
                self.kill()
                raise FaceProcessDiedError("the face process did not answer in time and was ended")
            piece = os.read(_pipe(self._process.stdout).fileno(), _READ_BYTES)
            if not piece:
                raise self._died()
            self._unread += piece
        content, self._unread = self._unread[:size], self._unread[size:]
        return content

    def _died(self) -> FaceProcessDiedError:
        with suppress(subprocess.TimeoutExpired):  # its own status says more than that of our signal
            self._process.wait(timeout=1.0)
        self.kill()  # it closed its pipe, so it is no use even where it still runs
        return FaceProcessDiedError(
            f"the face process ended unexpectedly (status {self._process.returncode})"
        )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ConfinementError("the face process has no pipe")
    return pipe
