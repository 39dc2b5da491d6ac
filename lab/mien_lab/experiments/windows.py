"""The windows of protocol ``mase2021``: means over 600 frames, one beside the other.

Enters: a trace or features per frame. Leaves: one pair per window. Mase et al. (2021) cut recordings so and
predict each window's mean valence and arousal; their scripts drop the frames left over at the end.
"""

from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mien_common.network import AffectNetwork

Kind = TypeVar("Kind", bound=np.generic)

WINDOW_FRAMES: Final = 600
"""24 seconds at 25 Hz."""


def window_means(trace: NDArray[np.float32], counts: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(windows, 2) means of (frames, 2) over each window's counted frames; 0 where none counts."""
    values, counted = _cut(trace), _cut(counts)
    frames = np.maximum(counted.sum(axis=1), 1)[:, None]
    sums = values.sum(axis=1, where=counted[..., None], dtype=np.float64)
    return np.asarray(sums / frames, np.float32)


def window_counts(counts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(windows,) whether any frame of a window counts."""
    return np.asarray(_cut(counts).any(axis=1))


@torch.no_grad()
def predict_windows(
    network: AffectNetwork, inputs: NDArray[np.float32], device: torch.device
) -> NDArray[np.float32]:
    """(windows, 2) from (frames, channels), by a network that predicts a pair per window."""
    windows = _cut(inputs)
    if not len(windows):
        return np.empty((0, 2), np.float32)
    network.to(device).eval()
    prediction: NDArray[np.float32] = network(torch.from_numpy(windows).to(device)).cpu().numpy()
    return prediction


def _cut(frames: NDArray[Kind]) -> NDArray[Kind]:
    """(windows, WINDOW_FRAMES, …) of (frames, …)."""
    windows = len(frames) // WINDOW_FRAMES
    return frames[: windows * WINDOW_FRAMES].reshape(windows, WINDOW_FRAMES, *frames.shape[1:])
