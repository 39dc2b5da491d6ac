"""A frame: what a source gives and the face process takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One picture; it lives in memory only.

    Its pixels are the source's own, and hold only until the next frame is taken: the source then writes
    the next picture over them, and zeros at the end. Whoever wants to keep them has to copy them.
    """

    time_s: float
    """Seconds since the source's first frame; strictly rising."""
    bgr: NDArray[np.uint8]
    """(height, width, 3) blue, green, red."""
