"""Recordings that a process made a moment ago, so that few simulated sites are not invented anew each round.

Enters: what a recording is called and how to make it. Leaves: the recording, the same whether it was kept or
not. What is kept has a fixed size, so that memory does not grow with the sites: of many sites the first are
gone before their turn comes again, and are made anew.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from mien_client.rated_recording import Recording


class RecentRecordings:
    """Those used last, up to a number of frames.

    Parameters
    ----------
    most_frames : of all that are kept together.
    """

    def __init__(self, most_frames: int) -> None:
        self._most_frames = most_frames
        self._frames = 0
        self._kept: OrderedDict[Hashable, Recording] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Recording]) -> Recording:
        """The recording of that key, which ``make`` gives where it is not kept; not to be written to."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        recording = make()
        self._kept[key] = recording
        self._frames += len(recording.counts)
        while self._frames > self._most_frames:
            _, oldest = self._kept.popitem(last=False)
            self._frames -= len(oldest.counts)
        return recording
