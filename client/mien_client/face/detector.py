"""Finds where faces are in a picture, coarsely, one picture at a time. Runs inside the face process only.

Enters: RGB pictures. Leaves (to :mod:`mien_client.face.finder`, same process): boxes.
Never leaves: the picture.

It is the detector that the landmarker begins with (BlazeFace, short range), taken from the same model
asset. The landmarker shows it the whole frame, shrunk to 128 pixels, where a face of an eighth of the
frame is lost; here it is shown any part of the frame, and every face it finds is named.
"""

import io
import zipfile
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_client.face.landmarks import model_asset

_MODEL: Final = "face_detector.tflite"
_LARGEST_SIDE_PX: Final = 256
"""The network sees 128 pixels; averaging down to this first costs its scores nothing (measured on the
real clips: 0.92–0.97 either way) and keeps large frames cheap and free of aliasing."""


@dataclass(frozen=True)
class FaceBox:
    """A square about a face, from brows to chin, in pixels of the frame."""

    x: float
    y: float
    """Its centre."""
    side: float
    """1.05 times the width of the landmarker's face, on average of the real clips."""
    score: float
    """The detector's own, in [0, 1]."""

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies inside."""
        return max(abs(x - self.x), abs(y - self.y)) <= self.side / 2


class FaceDetector:
    """BlazeFace in IMAGE mode: it keeps nothing from one picture to the next."""

    def __init__(self, least_score: float) -> None:
        model = zipfile.ZipFile(io.BytesIO(model_asset())).read(_MODEL)
        # Imported here, after the process is confined, so that no code of MediaPipe ever ran with a network.
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        self._image = mediapipe.Image
        self._srgb = mediapipe.ImageFormat.SRGB
        self._detector = vision.FaceDetector.create_from_options(
            vision.FaceDetectorOptions(
                base_options=BaseOptions(model_asset_buffer=model),
                running_mode=vision.RunningMode.IMAGE,
                min_detection_confidence=least_score,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detector.close()

    def find(self, rgb: NDArray[np.uint8], x: int = 0, y: int = 0) -> list[FaceBox]:
        """The faces in a picture, the surest first.

        Parameters
        ----------
        rgb : (height, width, 3) uint8
        x, y : where in the frame the picture's first pixel lies, so that boxes are in the frame's pixels.
        """
        scale = min(1.0, _LARGEST_SIDE_PX / max(rgb.shape[:2]))
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
        picture = self._image(image_format=self._srgb, data=np.ascontiguousarray(small))
        boxes = [
            FaceBox(
                x=x + (found.bounding_box.origin_x + found.bounding_box.width / 2) / scale,
                y=y + (found.bounding_box.origin_y + found.bounding_box.height / 2) / scale,
                side=max(found.bounding_box.width, found.bounding_box.height) / scale,
                score=float(found.categories[0].score),
            )
            for found in self._detector.detect(picture).detections
        ]
        return sorted(boxes, key=lambda box: -box.score)
