"""Frames as they come, for who looks at them live: the newest waits, older ones are dropped.

Enters: an open source. Leaves: its newest frame, when it is asked for. Never leaves: a pixel, to any
disk; the few buffers that hold pictures are overwritten at the end.

A thread of its own reads the source, so that a camera's own buffer never fills with old pictures. A
source that would give its frames at once, as a file does, is played at its own pace.
"""

import threading
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .frames import Frame
from .sources import Source

LEAVE_S: Final = 2.0
"""How long a source may take to let go at the end; one that hangs is left to end with the process."""
LEAVE_LIVE_S: Final = 0.3
"""A live source may be waiting for its camera to come back; closing it ends that."""


class Arrival(NamedTuple):
    """A frame and the moment it came. Its pixels hold until the next is asked for."""

    frame: Frame
    at_s: float
    """By ``time.monotonic``."""


class LiveFrames:
    """The newest frame of a source.

    Parameters
    ----------
    haste : by how much a source that is not live may be played faster than it says, where its frames are
        there early. For a program that writes frames: it may be a camera whose clock is a little fast,
        and what it has ahead of us would be a delay for good.
    """

    def __init__(self, source: Source, haste: float = 0.0) -> None:
        self._source, self._haste = source, haste
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mien-frames", daemon=True)
        # Three buffers come to be: one is looked at, one waits, one is being filled.
        self._free: list[NDArray[np.uint8]] = []
        self._waiting: tuple[Arrival, NDArray[np.uint8]] | None = None
        self._lent: NDArray[np.uint8] | None = None
        self._error: BaseException | None = None
        self._over = False
        self.dropped = 0
        """Frames that came while another was still looked at, and gave way to a newer one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(LEAVE_LIVE_S if self._source.live else LEAVE_S)
        with self._changed:
            waiting = self._waiting[1] if self._waiting is not None else None
            for buffer in (*self._free, self._lent, waiting):
                if buffer is not None:
                    buffer[...] = 0

    def start(self) -> None:
        """Let the frames come: not before somebody can look at them."""
        self._thread.start()

    def newest(self, timeout_s: float) -> Arrival | None:
        """The newest frame not yet given; None where none came in time, or the source has ended.

        Raises
        ------
        VideoError
            The source broke off. A frame that came before is given first.
        """
        with self._changed:
            if self._lent is not None:
                self._free.append(self._lent)
                self._lent = None
            self._changed.wait_for(lambda: self._waiting is not None or self._over, timeout_s)
            if self._waiting is not None:
                arrival, self._lent = self._waiting
                self._waiting = None
                return arrival
            if self._error is not None:
                raise self._error
            return None

    @property
    def has_ended(self) -> bool:
        """Whether no frame will come any more."""
        with self._changed:
            return self._over and self._waiting is None and self._error is None

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001  # raised again where the frames are asked for
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _read(self) -> None:
        began_s, before_s = 0.0, 0.0
        for number, frame in enumerate(self._source.frames()):
            now_s = time.monotonic()
            if number == 0:
                began_s = now_s - frame.time_s
            early_s = max(began_s + frame.time_s - now_s, 0.0)
            hurried_s = min(early_s, self._haste * (frame.time_s - before_s))
            began_s, before_s = began_s - hurried_s, frame.time_s
            if not self._source.live:
                self._stop.wait(early_s - hurried_s)
            if self._stop.is_set():
                return
            self._put(frame)

    def _put(self, frame: Frame) -> None:
        at_s = time.monotonic()
        with self._changed:
            if self._waiting is not None:
                self._free.append(self._waiting[1])
                self._waiting = None
                self.dropped += 1
            buffer = self._free.pop() if self._free else np.empty(0, np.uint8)
        if buffer.size < frame.bgr.size:
            buffer[...] = 0
            buffer = np.empty(frame.bgr.size, np.uint8)
        pixels = buffer[: frame.bgr.size].reshape(frame.bgr.shape)
        np.copyto(pixels, frame.bgr)  # a source writes its next picture over this one
        with self._changed:
            self._waiting = (Arrival(Frame(frame.time_s, pixels), at_s), buffer)
            self._changed.notify_all()
