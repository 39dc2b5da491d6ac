"""A person's own neutral face: what is subtracted from raw action units.

Enters: raw action units of single frames (signed, 0 = an average resting face). Leaves: intensities
from 0 to 5 above this person's rest. Faces at rest differ by whole units (Baltrušaitis, Mahmoud &
Robinson, FERA 2015, gain most from person-specific normalisation), and a recording's own mean or
quantile would know the future. Nothing here looks ahead.
"""

from bisect import insort
from dataclasses import dataclass
from math import isnan
from typing import Annotated, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mien_common.schema import AU_CHANNELS

from .observations import Observation

UNITS: Final = len(AU_CHANNELS)
MAX_INTENSITY: Final = 5.0

NeutralKind = Literal["calibration", "running", "source"]
"""Where a session's neutral came from: a calibration; its own first minute; the source had done it."""

PARTICIPANT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ParticipantName = Annotated[str, Field(pattern=PARTICIPANT_PATTERN)]
"""How a site calls a person; it names a file."""


class Neutral(Protocol):
    """Turns raw action units into intensities above a person's rest, frame after frame."""

    @property
    def kind(self) -> NeutralKind:
        """Where the neutral comes from."""

    def intensities(self, seen: Observation) -> NDArray[np.float32]:
        """(20,) action units from 0 to 5 and the pose untouched; NaN stays NaN.

        Called once per observation, in time order; it may learn from this one, never from a later one.
        """


@dataclass(frozen=True)
class KnownNeutral:
    """A neutral that was measured before, the same for every frame."""

    units: NDArray[np.float32]
    """(17,) raw action units of the face at rest."""
    kind: NeutralKind = "calibration"

    def intensities(self, seen: Observation) -> NDArray[np.float32]:
        """See :class:`Neutral`. Used for every face of a recording: the operator said who it is."""
        return above(self.units, seen.values)


def source_neutral() -> KnownNeutral:
    """Nothing to subtract: OpenFace's and py-feat's intensities are above a neutral already."""
    return KnownNeutral(np.zeros(UNITS, np.float32), "source")


LEARNING_S: Final = 60.0
"""Seconds of near-frontal face from which the running neutral is learnt; then it stands still."""
QUANTILE: Final = 0.2
"""Which quantile of an action unit counts as rest: low, as most people rest part of the time; not lower,
as the rarest values are the landmarks' jitter and the first seconds hold few of them."""
PRIOR_S: Final = 6.0
"""The average face weighs as much as this many seconds of the person's own. The first seconds say little of
rest when they show an expression, and a neutral that moves fast looks like one (docs/calibration.md)."""
FRONTAL_RAD: Final = float(np.radians(20.0))
"""Turned further up, down or aside, a face does not teach: its action units bend with the turn."""
LONGEST_STEP_S: Final = 0.25
"""A frame stands for the time since the one before it, at most for this."""

_PITCH, _YAW = UNITS, UNITS + 1


def teaches(seen: Observation) -> bool:
    """Whether a face looks near enough to the camera to say something of its rest."""
    pitch, yaw = float(seen.values[_PITCH]), float(seen.values[_YAW])
    return abs(pitch) <= FRONTAL_RAD and abs(yaw) <= FRONTAL_RAD  # an unknown turn is not


class RunningNeutral:
    """A low quantile of each action unit over the first minute of a face, as far as it has been seen.

    It starts as the average resting face (0) and turns into the person's own as their seconds
    outweigh :data:`PRIOR_S`. Another face starts anew: it is another person.
    """

    kind: Final[NeutralKind] = "running"

    def __init__(self) -> None:
        self._begin(0)

    def _begin(self, face: int) -> None:
        self._face = face
        self._time_s: float | None = None
        self._frontal_s = 0.0
        self._known_s = [0.0] * UNITS
        self._in_order: list[list[float]] = [[] for _ in range(UNITS)]
        self.units = np.zeros(UNITS, np.float32)

    def intensities(self, seen: Observation) -> NDArray[np.float32]:
        """See :class:`Neutral`."""
        if seen.face != self._face:
            self._begin(seen.face)
        if self._frontal_s < LEARNING_S and teaches(seen):
            self._learn(seen)
        self._time_s = seen.time_s
        return above(self.units, seen.values)

    def _learn(self, seen: Observation) -> None:
        step_s = 0.0 if self._time_s is None else min(max(seen.time_s - self._time_s, 0.0), LONGEST_STEP_S)
        self._frontal_s += step_s
        for unit, value in enumerate(seen.values[:UNITS].tolist()):
            if isnan(value):  # a hidden mouth teaches nothing of the mouth
                continue
            in_order = self._in_order[unit]
            insort(in_order, value)
            self._known_s[unit] += step_s
            own = self._known_s[unit] / (self._known_s[unit] + PRIOR_S)
            self.units[unit] = own * in_order[int(QUANTILE * (len(in_order) - 1))]
        if self._frontal_s >= LEARNING_S:
            self._in_order = []  # it stands still from here


def above(neutral: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(20,) ``values`` with ``neutral`` subtracted from the action units, kept within 0 to 5."""
    result = values.copy()
    np.clip(values[:UNITS] - neutral, 0.0, MAX_INTENSITY, out=result[:UNITS])
    return result
