"""A live source: a thread takes frames as they come and keeps only the newest for who looks at them.

Enters: a capture that is open, and a way to open it again. Leaves: :class:`~mien_client.frames.Frame`,
never older than one frame however slow the reader, over losses of the camera. Never leaves: a pixel,
to any disk; three buffers are written over again and again, and zeroed at the end.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from ..frames import Frame
from .live_clock import LiveClock
from .opencv import Capture, FrameBuffer
from .source import Say

RETRY_S: Final = 1.0
LAST_READ_S: Final = 7.0
"""A read that hangs in the library ends by itself after this; longer is not waited for at the end."""
_BUFFERS: Final = 3
"""One is being filled, one waits, one is being looked at."""
_POS_MSEC: Final = 0
"""OpenCV's ``CAP_PROP_POS_MSEC``: the camera's stamp of the last frame."""


class LiveSource:
    """Frames of a camera or stream, the newest first; waits for a camera that is lost.

    Parameters
    ----------
    capture : open already; released at the end.
    reopen : opens it again, None as long as that fails.
    now : this machine's steady clock, in seconds.
    """

    live = True
    expected_frames = 0

    def __init__(
        self,
        name: str,
        size: tuple[int, int],
        rate_hz: float,
        capture: Capture,
        reopen: Callable[[], Capture | None],
        say: Say,
        *,
        retry_s: float = RETRY_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.rate_hz = name, rate_hz
        self.height, self.width = size
        self._capture, self._reopen, self._say = capture, reopen, say
        self._retry_s, self._now = retry_s, now
        self._clock = LiveClock()
        self._buffers = [FrameBuffer(*size) for _ in range(_BUFFERS)]
        self._held: FrameBuffer | None = None
        self._newest: tuple[FrameBuffer, Frame] | None = None
        self._news: list[str] = []
        self._lost_s: float | None = None
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mien-camera", daemon=True)

    def frames(self) -> Iterator[Frame]:
        """The newest frame whenever there is one that was not taken yet; ends only when it is closed."""
        if self._thread.ident is None:
            self._thread.start()
        while not self._stop.is_set():
            with self._changed:
                while not (self._newest or self._news or self._failure or self._stop.is_set()):
                    self._changed.wait()
                newest, self._newest = self._newest, None
                news, self._news = self._news, []
                failure = self._failure
                if newest is not None:
                    self._held = newest[0]
            for sentence in news:
                self._say(sentence)
            if newest is not None:
                yield newest[1]
            elif failure is not None:
                raise failure

    def close(self) -> None:
        """Stop the thread, release the camera, overwrite the buffers."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is None:
            self._capture.release()
        else:
            self._thread.join(LAST_READ_S)
        for buffer in self._buffers:
            buffer.wipe()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._take_until_lost()
                self._capture.release()
                self._wait_for_return()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to who takes the frames
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._capture.release()

    def _take_until_lost(self) -> None:
        while not self._stop.is_set():
            buffer = self._free_buffer()
            bgr = buffer.read(self._capture)
            if bgr is None:
                return
            time_s = self._clock.time_s(self._capture.get(_POS_MSEC) / 1000.0, self._now())
            if time_s is None:
                continue
            if self._lost_s is not None:
                self._tell(f"{self.name} is back after {self._now() - self._lost_s:.0f} s.")
                self._lost_s = None
            with self._changed:
                self._newest = (buffer, Frame(time_s, bgr))
                self._changed.notify_all()

    def _wait_for_return(self) -> None:
        if self._lost_s is None and not self._stop.is_set():
            self._lost_s = self._now()
            self._tell(f"{self.name} is lost; waiting for it to come back.")
        while not self._stop.wait(self._retry_s):
            capture = self._reopen()
            if capture is not None:
                self._capture = capture
                self._clock.reconnected()
                return

    def _tell(self, sentence: str) -> None:
        """Leave a sentence for whoever takes the frames: they say it, on their own thread."""
        with self._changed:
            self._news.append(sentence)
            self._changed.notify_all()

    def _free_buffer(self) -> FrameBuffer:
        with self._changed:
            waiting = self._newest[0] if self._newest is not None else None
            return next(
                buffer for buffer in self._buffers if buffer is not waiting and buffer is not self._held
            )
