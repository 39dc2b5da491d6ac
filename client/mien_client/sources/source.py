"""What every source of frames is: the seam between where pictures come from and who looks at them.

Enters and leaves: nothing, this module only names the contract.
"""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from mien_common.schema import AU_V1, LONGEST_FRAMES

from ..frames import Frame

LONGEST_SIDE: Final = 8192
"""Pixels; a frame with a longer side is refused before memory for it is asked."""
LONGEST_S: Final = (LONGEST_FRAMES - 1) / AU_V1.rate_hz

FASTEST_HZ: Final = 1000.0

Say = Callable[[str], None]
"""Told, in one sentence, what a person should know while the source goes on: a camera lost, or back."""


class Source(Protocol):
    """Frames with time stamps, one after the other."""

    @property
    def name(self) -> str:
        """What to call it in messages and session names; never holds a password."""

    @property
    def live(self) -> bool:
        """Whether frames come at their own pace and those that nobody took in time are gone."""

    @property
    def height(self) -> int:
        """Pixels, of the highest frame that will come."""

    @property
    def width(self) -> int:
        """Pixels, of the widest frame that will come."""

    @property
    def rate_hz(self) -> float:
        """Frames a second by the source's own word; the time stamps are what counts."""

    @property
    def expected_frames(self) -> int:
        """How many frames will come, by the source's own word; 0 where it does not say."""

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, once; each one's pixels hold only until the next is taken.

        Raises
        ------
        VideoError
            The source holds no frame, breaks off, or claims to last for days.
        """
