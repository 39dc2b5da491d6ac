"""Whether the landmarker's mesh still sits on the skull it began on. Runs inside the face process only.

Enters: one :class:`~mien_client.face.landmarks.Face` after another. Leaves: yes or no.
Never leaves: the landmarks, of which it keeps one running mean of 15 per recording.

A hand before the face often pushes the mesh aside: squeezed onto what is left to see, or drawn over the
fingers. The skin under it then looks like skin, but the bones have another shape, and bones don't bend:
eye corners, bridge and tip of the nose, and forehead keep their distances whatever the face expresses
and wherever it turns, as far as landmarks are good.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.face.action_units import rotation_angles
from mien_client.face.landmarks import Face


@dataclass(frozen=True)
class FitLimits:
    """When a mesh has slipped; measured, see ``docs/missing.md``."""

    off: float = 0.05
    """Root mean square distance to the mean shape, in radii of the shape. On the real clips nothing that
    is uncovered reaches it for two frames; a third of what lies under hands does."""
    on_again: float = 0.04
    still_deg: float = 3.0
    per_degree: float = 0.05
    most: float = 3.0
    """The landmarks' depth is a guess that turns with the head: the limit grows by ``per_degree`` for
    each degree beyond ``still_deg`` from the mean pose of the last second, up to ``most`` times."""
    looks: int = 2
    looks_free: int = 3
    """In a row that must agree."""
    memory_s: float = 1.0
    looks_first: int = 10
    """The landmarker's first looks at a face still wander; nothing is judged by them."""
    forget_s: float = 5.0
    """After so long the shape is taken as it is; the skin has its say besides."""


LIMITS: Final = FitLimits()

_BONES: Final = (33, 133, 362, 263, 168, 6, 197, 1, 129, 358, 98, 327, 10, 151, 2)
"""Eye corners, nose and forehead, in MediaPipe's mesh."""
_LONGEST_STEP_S: Final = 0.2


class MeshFit:
    """One person's skull, as the landmarker sees it."""

    def __init__(self, limits: FitLimits = LIMITS) -> None:
        self._limits = limits
        self.start_over()

    def start_over(self) -> None:
        """Forget the skull: another face is followed."""
        self._usual: NDArray[np.float64] | None = None
        self._pose = np.zeros(3)
        self._seen = 0
        self._last_ms = 0
        self._slipped = False
        self._agreed = 0
        self._slipped_s = 0.0

    def slipped(self, face: Face, timestamp_ms: int) -> bool:
        """Whether the mesh has left the face."""
        limits, shape = self._limits, _shape(face)
        pose = np.degrees(rotation_angles(face.rotation))
        step_s = min(max(timestamp_ms - self._last_ms, 1) / 1000, _LONGEST_STEP_S)
        self._last_ms = timestamp_ms
        self._seen += 1
        if self._usual is None:
            self._usual, self._pose = shape, pose
            return False
        turned = float(np.linalg.norm(pose - self._pose))
        allowance = min(1.0 + limits.per_degree * max(turned - limits.still_deg, 0.0), limits.most)
        shape = _turned_onto(shape, self._usual)
        bent = float(np.sqrt(np.square((shape - self._usual)[:, :2]).sum(axis=1).mean())) / allowance
        judged = self._seen > limits.looks_first
        agrees = judged and (bent < limits.on_again if self._slipped else bent > limits.off)
        self._agreed = self._agreed + 1 if agrees else 0
        if self._agreed >= (limits.looks_free if self._slipped else limits.looks):
            self._slipped, self._agreed = not self._slipped, 0
        self._slipped_s = self._slipped_s + step_s if self._slipped else 0.0
        if self._slipped_s > limits.forget_s:
            self.start_over()
            self._usual, self._pose = shape, pose
        elif not self._slipped:
            share = max(1.0 - float(np.exp(-step_s / limits.memory_s)), 1.0 / self._seen)
            self._usual = self._usual + share * (shape - self._usual)
            self._pose = self._pose + share * (pose - self._pose)
        return self._slipped


def _turned_onto(shape: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shape in the pose that fits the other best (Kabsch, 1976), as the head's pose is inexact."""
    u, _, vt = np.linalg.svd(shape.T @ other)
    turned: NDArray[np.float64] = shape @ (u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)
    return turned


def _shape(face: Face) -> NDArray[np.float64]:
    """(bones, 3) turned to face the camera, centred, with a radius of 1."""
    camera = face.points[list(_BONES)].astype(np.float64) * (1.0, -1.0, -1.0)
    turned = (camera - camera.mean(axis=0)) @ face.rotation.astype(np.float64)
    radius = float(np.sqrt(np.square(turned).sum(axis=1).mean()))
    scaled: NDArray[np.float64] = turned / max(radius, 1e-6)
    return scaled
