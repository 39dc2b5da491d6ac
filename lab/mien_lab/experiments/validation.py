"""How good a model is on what was kept from training, as sums that may be pooled over sites.

Enters: a network and the validation parts of training recordings. Leaves: sufficient statistics, and the CCC
that a round is chosen by. Nothing of a test person comes here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mien_client.inference import evaluate, predict
from mien_client.rated_recording import Recording
from mien_common.ccc import Moments, ccc_from_moments, moments
from mien_common.network import AffectNetwork

from .windows import predict_windows, window_counts, window_means

Pair = tuple[Moments, Moments]
"""Valence's and arousal's sums."""

NOTHING: Pair = (Moments(), Moments())


@dataclass(frozen=True)
class Measure:
    """Validation by the measure the test will have: over frames, or over windows' means."""

    protocol: Literal["avec", "mase2021"]
    device: torch.device

    def of(self, network: AffectNetwork, recordings: Sequence[Recording]) -> Pair:
        """Sums over ``recordings``; under ``avec`` those that an agent would send, by its own code."""
        if self.protocol == "avec":
            return pool((one.valence, one.arousal) for one in evaluate(network, recordings, self.device))
        return pool(self._of_windows(network, recording) for recording in recordings)

    def _of_windows(self, network: AffectNetwork, recording: Recording) -> Pair:
        counts = window_counts(recording.counts)
        gold = window_means(recording.targets, recording.counts)
        if network.architecture.predicts == "window":
            prediction = predict_windows(network, recording.inputs, self.device)
        else:
            frames = predict(network, recording.inputs, self.device)
            prediction = window_means(frames, recording.counts)
        valence, arousal = (moments(prediction[:, of], gold[:, of], counts) for of in (0, 1))
        return valence, arousal


def pool(pairs: Iterable[Pair]) -> Pair:
    """Sums of all ``pairs``."""
    valence, arousal = NOTHING
    for pair in pairs:
        valence, arousal = valence + pair[0], arousal + pair[1]
    return valence, arousal


def agreement(pair: Pair) -> tuple[float, float]:
    """Pooled CCC of valence and arousal; NaN, and not 0, where the ratings never change."""
    valence, arousal = (ccc_from_moments(sums) if sums.target_varies else float("nan") for sums in pair)
    return valence, arousal


def score(ccc: tuple[float, float]) -> float:
    """What rounds are compared by: the mean of valence's and arousal's CCC.

    Where one is undefined the other alone; NaN where both are.
    """
    defined = [value for value in ccc if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
