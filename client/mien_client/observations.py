"""What the face process says of one frame: numbers, and why some are missing.

Enters and leaves: :class:`Observation`. It carries no picture, no landmark and no blendshape.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.schema import STATIC_CHANNELS


class FaceState(IntEnum):
    """Whether a frame's face could be measured, and if not, why. Kept in sessions by number."""

    SEEN = 0
    NO_FRAME = 1
    """The source gave no frame here, or it was lost with a face process that had to be restarted."""
    NO_FACE = 2
    PROFILE = 3
    """Turned more than 45° aside: the pose is known, the action units are not."""
    SMALL = 4
    """Too few pixels for action units; the pose is known."""
    DARK = 5
    """Too little light for action units; the pose is known."""
    COVERED = 6
    """Something lies before a part of the face; the channels of that part are missing."""


NOTHING_KNOWN: Final = (FaceState.NO_FRAME, FaceState.NO_FACE)
POSE_KNOWN: Final = (FaceState.PROFILE, FaceState.SMALL, FaceState.DARK)
"""States in which no number is known, and in which the pose is and no action unit."""


@dataclass(frozen=True)
class Observation:
    """What is known of one frame."""

    time_s: float
    """Seconds since the source's first frame."""
    state: FaceState
    values: NDArray[np.float32]
    """(20,) in the order of ``STATIC_CHANNELS``; NaN where missing. Action units are *raw*: signed,
    on the scale of 0 (an average resting face) to 5, before the person's own neutral is subtracted."""
    face: int = 0
    """Which face is followed: one more each time another person's face is taken up."""


def nothing_seen(time_s: float, state: FaceState, face: int = 0) -> Observation:
    """An observation without a single number."""
    return Observation(time_s, state, np.full(len(STATIC_CHANNELS), np.nan, np.float32), face)
