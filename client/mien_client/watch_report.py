"""What a watch tells whoever shows it: before the first frame, for each frame, and at the end.

Enters: moments of :mod:`mien_client.watch`. Leaves: the same, counted. It holds numbers and words only.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from mien_common.published import ModelCard

from .calibration import NeutralKind
from .observations import FaceState

if TYPE_CHECKING:
    from .affect_stream import Moment

LATENCY_BINS: Final = 2000
"""Of a millisecond each; longer ones count as the last."""


@dataclass(frozen=True)
class Setup:
    """What is watched, and with what: said before the first frame."""

    source: str
    width: int
    height: int
    card: ModelCard | None
    neutral: NeutralKind
    neutral_in_words: str
    scaled_by: Literal["site", "running"]
    """Whose statistics standardise the features: "site" or "running"."""
    confined: bool


@dataclass(frozen=True)
class Shown:
    """One frame, or one moment without any, as it is shown."""

    moment: "Moment"
    latency_s: float | None
    """From the frame's coming to its prediction; None where no frame came."""
    card: ModelCard | None
    rate_hz: float
    """Frames a second, over the last two."""
    dropped: int
    """Frames so far that came while another was looked at."""


@dataclass
class Summary:
    """What came of it, at the end."""

    seconds: float = 0.0
    frames: int = 0
    with_face: int = 0
    predicted: int = 0
    dropped: int = 0
    latencies_ms: list[int] = field(default_factory=lambda: [0] * LATENCY_BINS)
    """How many frames took so many milliseconds."""

    def count(self, shown: Shown) -> None:
        """Take a frame into account."""
        self.dropped = shown.dropped
        if shown.latency_s is None:
            return
        self.frames += 1
        self.with_face += shown.moment.features.state == FaceState.SEEN
        self.predicted += shown.moment.affect is not None
        self.latencies_ms[min(round(shown.latency_s * 1000), LATENCY_BINS - 1)] += 1

    def latency_ms(self, share: float) -> int:
        """The time that ``share`` of the frames kept within, milliseconds."""
        return int(np.searchsorted(np.cumsum(self.latencies_ms), share * self.frames))


class Screen(Protocol):
    """Where it is shown."""

    def begin(self, setup: Setup) -> None:
        """Before the first frame."""

    def show(self, shown: Shown) -> None:
        """A frame."""

    def notice(self, text: str) -> None:
        """Something a person should know, in one sentence."""

    def model(self, card: ModelCard) -> None:
        """Another model has come."""

    def end(self, summary: Summary) -> None:
        """After the last frame."""
