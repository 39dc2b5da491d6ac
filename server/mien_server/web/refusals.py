"""How often strangers were refused, as events of the server's journal: a line a minute at most.

Enters: the fact that somebody was refused. Leaves: ``refused`` with a count; nothing about who it was.
"""

import threading
import time
from typing import Final, Literal

from mien_server.folder import ServerFolder
from mien_server.server_events import record_event

WINDOW_S: Final = 60.0


class Refusals:
    """Counts refusals; the first is recorded at once, those of the minute after it together.

    Parameters
    ----------
    how : at which door.
    """

    def __init__(
        self, folder: ServerFolder, how: Literal["enrolment", "login"], window_s: float = WINDOW_S
    ) -> None:
        self._folder, self._how, self._window_s = folder, how, window_s
        self._lock = threading.Lock()
        self._count = 0
        self._written = -window_s + time.monotonic()
        self._timer: threading.Timer | None = None

    def count(self) -> None:
        """Somebody was refused just now. Never waits for the disk."""
        with self._lock:
            self._count += 1
            if self._timer is None:
                delay_s = max(0.0, self._written + self._window_s - time.monotonic())
                self._timer = threading.Timer(delay_s, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Record what was counted since the last line, if anything."""
        with self._lock:
            count, self._count = self._count, 0
            self._written = time.monotonic()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if count:
            record_event(self._folder, "refused", how=self._how, count=count)
