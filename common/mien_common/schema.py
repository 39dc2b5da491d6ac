"""The feature schema both sides agree on: ``au-v1``, 40 channels at 25 Hz.

It mirrors RECOLA's 40 video attributes (Ringeval et al., 2013): 17 AU-like intensities named as
OpenFace names them, 3 head rotations, and the first-order deltas of those 20. A model names the
schema it was trained on and refuses another.
"""

from dataclasses import dataclass
from typing import Final

AU_CHANNELS: Final = tuple(
    f"AU{number:02d}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
)
"""AU-like intensities, 0 (absent) to 5 (maximum), the range of OpenFace's ``_r`` columns."""

POSE_CHANNELS: Final = ("pose_Rx", "pose_Ry", "pose_Rz")
"""Head rotation about x (pitch), y (yaw) and z (roll), radians."""

STATIC_CHANNELS: Final = AU_CHANNELS + POSE_CHANNELS
DELTA_CHANNELS: Final = tuple(f"{name}_delta" for name in STATIC_CHANNELS)

TARGETS: Final = ("valence", "arousal")
"""What is predicted, in this order, each in [−1, 1]."""


@dataclass(frozen=True)
class FeatureSchema:
    """A named, ordered set of channels on a fixed clock."""

    name: str
    channels: tuple[str, ...]
    rate_hz: float


AU_V1: Final = FeatureSchema(name="au-v1", channels=STATIC_CHANNELS + DELTA_CHANNELS, rate_hz=25.0)

LONGEST_FRAMES: Final = 25 * 3600 * 24
"""A day at the schema's rate; a longer recording is not one of ours."""
