"""Frames as they come, for who looks at them live: the newest waits, older ones are dropped.

Enters: an opened source. Leaves: its newest frame, when it is asked for. Never leaves: a pixel, to any
disk; the few buffers that hold pictures are overwritten at the end.

A thread of its own reads the source, so that a camera's own buffer never fills with old pictures. A
source that would give its frames at once, as a file does, is played at its own pace.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .frames import Frame
from .sources import Say, Source

BUFFERS: Final = 3
"""One being looked at, one waiting, one being filled."""
LEAVE_S: Final = 2.0
"""How long a source may take to let go at the end; one that hangs is left to end with the process."""


class Arrival(NamedTuple):
    """A frame and the moment it came. Its pixels hold until the next is asked for."""

    frame: Frame
    at_s: float
    """By ``time.monotonic``."""


class LiveFrames:
    """The newest frame of a source.

    Parameters
    ----------
    opening : opens the source; called, and closed, in the thread that reads it. It is given a function
        for what the source has to say, which comes out of :meth:`said`.
    """

    def __init__(self, opening: Callable[[Say], AbstractContextManager[Source]]) -> None:
        self._opening = opening
        self._source: Source | None = None
        self._changed = threading.Condition()
        self._go, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._free: list[NDArray[np.uint8]] = []
        self._waiting: tuple[Arrival, NDArray[np.uint8]] | None = None
        self._lent: NDArray[np.uint8] | None = None
        self._notices: deque[str] = deque(maxlen=100)
        self._error: BaseException | None = None
        self._over = False
        self.dropped = 0
        """Frames that came while another was still looked at, and gave way to a newer one."""

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._source is not None or self._over)
        except BaseException:
            self._leave()
            raise
        if self._source is None:
            self._leave()
            self._raise_error()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def source(self) -> Source:
        """What is being watched."""
        if self._source is None:
            raise RuntimeError("the source is not open")
        return self._source

    def start(self) -> None:
        """Let the frames come: not before somebody can look at them."""
        self._go.set()

    def newest(self, timeout_s: float) -> Arrival | None:
        """The newest frame not yet given; None where none came in time, or the source has ended.

        Raises
        ------
        VideoError
            The source broke off. Frames that came before are given first.
        """
        with self._changed:
            if self._lent is not None:
                self._free.append(self._lent)
                self._lent = None
            self._changed.wait_for(
                lambda: self._waiting is not None or self._over or bool(self._notices), timeout_s
            )
            if self._waiting is None:
                if self._over:
                    self._raise_error()
                return None
            arrival, self._lent = self._waiting
            self._waiting = None
            return arrival

    @property
    def has_ended(self) -> bool:
        """Whether no frame will come any more."""
        with self._changed:
            return self._over and self._waiting is None and self._error is None

    def say(self, text: str) -> None:
        """Add to what :meth:`said` gives, from any thread."""
        with self._changed:
            self._notices.append(text)
            self._changed.notify_all()

    def said(self) -> list[str]:
        """What the source has said since this was last asked."""
        with self._changed:
            notices = list(self._notices)
            self._notices.clear()
        return notices

    def _run(self) -> None:
        try:
            with self._opening(self.say) as source:
                with self._changed:
                    self._source = source
                    self._changed.notify_all()
                self._go.wait()
                if not self._stop.is_set():
                    self._read(source)
        except BaseException as error:  # noqa: BLE001  # raised again where the frames are asked for
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _read(self, source: Source) -> None:
        began_s: float | None = None
        for frame in source.frames():
            if began_s is None:
                began_s = time.monotonic() - frame.time_s
            if not source.live:
                self._stop.wait(max(began_s + frame.time_s - time.monotonic(), 0.0))
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
            spare = self._free.pop() if self._free else np.empty(0, np.uint8)
        if spare.size < frame.bgr.size:
            spare[...] = 0
            spare = np.empty(frame.bgr.size, np.uint8)
        pixels = spare[: frame.bgr.size].reshape(frame.bgr.shape)
        np.copyto(pixels, frame.bgr)  # a source writes its next picture over this one
        with self._changed:
            self._waiting = (Arrival(Frame(frame.time_s, pixels), at_s), spare)
            self._changed.notify_all()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _leave(self) -> None:
        self._stop.set()
        self._go.set()
        self._thread.join(LEAVE_S)
        buffers = [*self._free, self._lent, self._waiting[1] if self._waiting is not None else None]
        for buffer in buffers:
            if buffer is not None:
                buffer[...] = 0
