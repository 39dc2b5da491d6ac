"""A network tried on recordings: traces that stay here, and the sums that may leave."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mien_common.ccc import moments
from mien_common.messages import FEWEST_FRAMES, RecordingMoments
from mien_common.network import AffectNetwork

from . import recurrence
from .rated_recording import Recording


@torch.no_grad()
def predict(network: AffectNetwork, inputs: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """(frames, 2) valence and arousal for (frames, channels) standardised features."""
    network.to(device).eval()
    features = torch.from_numpy(inputs)[None].to(device)
    prediction: NDArray[np.float32] = recurrence.forward(network, features)[0].cpu().numpy()
    return prediction


def evaluate(
    network: AffectNetwork, recordings: Sequence[Recording], device: torch.device
) -> tuple[RecordingMoments, ...]:
    """Sufficient statistics of the predictions on each recording; nothing per frame."""
    results = []
    for recording in recordings:
        if recording.counts.sum() < FEWEST_FRAMES:
            continue
        prediction = predict(network, recording.inputs, device)
        valence, arousal = (
            moments(prediction[:, column], recording.targets[:, column], recording.counts)
            for column in (0, 1)
        )
        results.append(RecordingMoments(valence=valence, arousal=arousal))
    return tuple(results)
