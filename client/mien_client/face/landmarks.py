"""Finds the face in a frame with MediaPipe FaceLandmarker. Runs inside the face process only.

Enters: RGB frames. Leaves (to :mod:`mien_client.face.action_units`, same process): 478 landmarks,
52 blendshape scores and the head pose. Never leaves: the frame.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from mien_client.face.mediapipe_direct import DirectLandmarker, DirectUnavailableError
from mien_common.errors import ConfinementError

ASSET_SHA256: Final = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
LANDMARKS: Final = 478


@dataclass(frozen=True)
class Face:
    """One face in one frame."""

    points: NDArray[np.float32]
    """(478, 3) pixels: x to the right, y down, z away from the camera (x's scale)."""
    blendshapes: dict[str, float]
    """52 scores in [0, 1] by ARKit name."""
    rotation: NDArray[np.float32]
    """(3, 3) rotation from the canonical face (x right, y up, z to the camera) to the camera."""


def model_asset() -> bytes:
    """The landmarker's bundle of models: a zip file, which holds a face detector, too.

    Raises
    ------
    ConfinementError
        The asset cannot be read, or is not the one this version was built with.
    """
    try:
        asset = files("mien_client").joinpath("assets", "face_landmarker.task").read_bytes()
    except OSError as error:
        raise ConfinementError(
            f"the face landmarker's model asset cannot be read ({error.strerror}). Install mien again."
        ) from error
    if hashlib.sha256(asset).hexdigest() != ASSET_SHA256:
        raise ConfinementError(
            "the face landmarker's model asset is damaged (its hash differs). Install mien again."
        )
    return asset


class Landmarker:
    """FaceLandmarker in VIDEO mode; it keeps tracking state, so make a new one per recording.

    Raises
    ------
    ConfinementError
        The model asset is missing or is not the one this version was built with.
    """

    def __init__(self) -> None:
        asset = model_asset()
        # Imported here, after the process is confined, so that no code of MediaPipe ever ran with a network.
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        self._image = mediapipe.Image
        self._srgb = mediapipe.ImageFormat.SRGB
        self._landmarker = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=asset),
                running_mode=vision.RunningMode.VIDEO,
                num_faces=1,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
        )
        self._direct: DirectLandmarker | None = None
        with suppress(DirectUnavailableError):  # the face process says so as it reports ready
            self._direct = DirectLandmarker(self._landmarker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._landmarker.close()

    def detect(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> Any:
        """MediaPipe's own result for a frame; see :meth:`find`."""
        return self._landmarker.detect_for_video(self._image(image_format=self._srgb, data=rgb), timestamp_ms)

    def find(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> Face | None:
        """The face in a frame, or None.

        Parameters
        ----------
        rgb : (height, width, 3) uint8
        timestamp_ms : strictly larger than the last frame's.
        """
        height, width = rgb.shape[:2]
        if self._direct is not None:
            direct = self._direct.find(rgb, timestamp_ms)
            if direct is None:
                return None
            return Face(
                points=direct.landmarks[:LANDMARKS] * np.array((width, height, width), np.float32),
                blendshapes=direct.blendshapes,
                rotation=_nearest_rotation(direct.matrix[:3, :3]),
            )
        found = self.detect(rgb, timestamp_ms)
        if not found.face_landmarks or not found.facial_transformation_matrixes:
            return None
        points = np.array(
            [(p.x * width, p.y * height, p.z * width) for p in found.face_landmarks[0]], np.float32
        )
        matrix = np.asarray(found.facial_transformation_matrixes[0], np.float32)
        return Face(
            points=points[:LANDMARKS],
            blendshapes={category.category_name: category.score for category in found.face_blendshapes[0]},
            rotation=_nearest_rotation(matrix[:3, :3]),
        )


def _nearest_rotation(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotation nearest to a scaled, noisy one, by its polar factor."""
    u, _, vt = np.linalg.svd(matrix)
    sign = np.sign(np.linalg.det(u @ vt))
    rotation: NDArray[np.float32] = (u @ np.diag([1.0, 1.0, sign]) @ vt).astype(np.float32)
    return rotation
