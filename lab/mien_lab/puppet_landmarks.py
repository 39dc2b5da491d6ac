"""Where the face is in a photograph: RGB photo in, 478 landmarks out.

The photo goes through the product's own confined face process, so a portrait given with ``--photo``
is never seen by a process that has a network.
"""

import numpy as np
from numpy.typing import NDArray

from mien_client.face.process import FaceProcess
from mien_client.frames import Frame
from mien_common.errors import InputError


def photo_landmarks(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    """MediaPipe's 478 landmarks of the face in a photo.

    Parameters
    ----------
    photo : (height, width, 3) uint8, RGB

    Returns
    -------
    (478, 3) float32: x, y in pixels, z in the same unit, growing away from the camera; rounded to
    1/100 pixel, so that a last-bit difference between runs does not show in the videos.

    Raises
    ------
    InputError
        No face is found.
    ConfinementError
        The face process cannot be confined, or ended.
    """
    height, width = photo.shape[:2]
    with FaceProcess(height, width, "landmarks") as face_process:
        frame = Frame(0.0, np.ascontiguousarray(photo[:, :, ::-1]))
        (points,) = face_process.landmarks([frame])
    if points is None:
        raise InputError(
            "no face was found in the photo. Use one of a single, frontal, well-lit face that fills "
            "at least a sixth of its height."
        )
    return np.round(points, 2).astype(np.float32)
