"""A hand before the puppet's face: a frame in, the frame with four fingers over a place out."""

from typing import Final

import cv2
import numpy as np

from mien_lab.puppet_face import Image

_SKIN: Final = (slice(250, 270), slice(260, 290))
"""A patch of the puppet's cheek, in frames of 640×480 at scale 1: the hand has the face's own colour."""
_SLANT_DEG: Final = 8.0
_LAYERS: Final = ((0.0, 0.55), (0.03, 0.8), (0.06, 1.0))
"""Each finger is drawn three times, ever thinner and lighter: rounded, and with dark gaps between."""


def hand_over(frame: Image, x: float, y: float, reach_px: float = 95.0) -> Image:
    """Four fingers laid over a place.

    Parameters
    ----------
    frame : (480, 640, 3) uint8, BGR, of a puppet at scale 1.
    x, y : the hand's middle.
    reach_px : from there to the finger tips.
    """
    skin = np.median(frame[_SKIN].reshape(-1, 3), axis=0)
    covered = frame.copy()
    for finger in range(4):
        middle = (round(x), round(y + reach_px / 3 * (finger - 1.5)))
        for inset, light in _LAYERS:
            axes = (round(reach_px * (1 - inset)), round(reach_px * (0.18 - inset)))
            cv2.ellipse(covered, middle, axes, _SLANT_DEG, 0, 360, (skin * light).tolist(), -1)
    return covered
