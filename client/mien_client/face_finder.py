"""Follows one person's face through a recording's frames. Runs inside the face process only.

Enters: RGB frames in time order. Leaves: what :mod:`action_units` measures of the face that is followed,
and why it is missing where it is. Never leaves: the frame, landmarks, blendshapes.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mien_client.action_units import measure
from mien_client.landmarks import Landmarker
from mien_client.observations import FaceState
from mien_common.schema import STATIC_CHANNELS


@dataclass(frozen=True)
class Look:
    """What one frame shows."""

    state: FaceState
    values: NDArray[np.float32]
    """(20,) as in :class:`~mien_client.observations.Observation`."""
    face: int


class FaceFinder:
    """One recording's search for a face; it keeps tracking state, so make a new one per recording."""

    def __init__(self) -> None:
        self._landmarker = Landmarker()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._landmarker.__exit__(kind, error, trace)

    def look(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> Look:
        """Measure the face in a frame.

        Parameters
        ----------
        rgb : (height, width, 3) uint8
        timestamp_ms : strictly larger than the last frame's.
        """
        face = self._landmarker.find(rgb, timestamp_ms)
        if face is None:
            return Look(FaceState.NO_FACE, np.full(len(STATIC_CHANNELS), np.nan, np.float32), 0)
        return Look(FaceState.SEEN, measure(face), 0)

    def landmarks(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> NDArray[np.float32] | None:
        """(478, 3) pixels, or None. For the lab's puppet, whose photograph is public; no site asks for it."""
        face = self._landmarker.find(rgb, timestamp_ms)
        return None if face is None else face.points
