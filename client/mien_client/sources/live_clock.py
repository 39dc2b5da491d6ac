"""When a live frame was taken: the camera's own stamps, laid on this machine's clock.

Enters: the stamp a camera gave a frame, and when the frame arrived. Leaves: seconds since the first
frame, over losses and new connections, so that what was missed is a gap. No picture comes here.
"""

import math
from typing import Final

REANCHOR_S: Final = 10.0
"""A camera's clock that is further off than this was set anew; up to it, its stamps are better than arrival.

Network streams hand over the first seconds in a burst, so a camera may seem that far ahead.
"""
_STEP_S: Final = 0.001


class LiveClock:
    """Time of live frames on one clock that goes on while a camera is lost."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last_s = -math.inf
        self._offset_s: float | None = None
        self._own_s = -math.inf

    def reconnected(self) -> None:
        """A new connection counts its own stamps from anywhere."""
        self._offset_s, self._own_s = None, -math.inf

    def time_s(self, own_s: float, arrived_s: float) -> float | None:
        """Seconds since the first frame; None for a frame that was handed over before.

        Parameters
        ----------
        own_s : the camera's stamp on a steady clock of its own; 0 or less where it gives none.
        arrived_s : when the frame arrived, on this machine's steady clock.
        """
        if not (math.isfinite(own_s) and own_s > 0):
            taken_s = arrived_s
        elif own_s == self._own_s:
            return None
        else:
            self._own_s = own_s
            if self._offset_s is None or abs(own_s + self._offset_s - arrived_s) > REANCHOR_S:
                self._offset_s = max(arrived_s, self._last_s + _STEP_S) - own_s
            taken_s = own_s + self._offset_s
        self._last_s = max(taken_s, self._last_s + _STEP_S)
        if self._first_s is None:
            self._first_s = self._last_s
        return self._last_s - self._first_s
