"""What every reader gives: recordings with features, raters' traces and who is in them.

Enters: nothing; these are the types. A recording here is as its release holds it: nothing is standardised,
moved, smoothed or averaged over raters yet, so that whatever is fitted can be fitted on training people only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Partition = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class RatedRecording:
    """One recording of one person."""

    name: str
    """Unique in its corpus."""
    participant: str
    features: NDArray[np.float32]
    """(frames, channels); NaN where unknown."""
    valid: NDArray[np.bool_]
    """(frames,) whether the face was measured, so that the frame may count."""
    raters: tuple[str, ...]
    """Names of the raters; empty where the release gives a gold standard only."""
    ratings: NDArray[np.float32]
    """(raters, frames, 2) valence, arousal in [−1, 1], as given, lag and all; NaN where one is missing."""
    gold: NDArray[np.float32] | None
    """(frames, 2) the gold standard that the release itself gives; None where it gives none."""
    source: Path
    """The file or folder it came from, for messages."""


@dataclass(frozen=True)
class Corpus:
    """Recordings of one schema."""

    name: str
    channels: tuple[str, ...]
    rate_hz: float
    recordings: tuple[RatedRecording, ...]
    partitions: Mapping[str, Partition] = field(default_factory=dict)
    """By participant, where the release has official ones."""
    note: str = ""
    """What a reader of the results must know, such as that the data are synthetic."""

    @property
    def participants(self) -> tuple[str, ...]:
        """Everyone, in the order of first appearance."""
        return tuple(dict.fromkeys(recording.participant for recording in self.recordings))
