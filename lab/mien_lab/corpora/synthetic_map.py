"""The synthetic set's answer: how a face's action units become valence and arousal, known to the last number.

Enters: true action-unit intensities and the head's speed. Leaves: valence and arousal in (−1, 1). Invented
here; no claim that people's faces work so.

Each intensity saturates, σ(a) = a / (a + 2); weighted sums of these drive two leaky integrators, whose states
are squashed:

    drive_v = 1.7 σ(AU12) + 1.0 σ(AU06) σ(AU12) − 1.3 σ(AU04) − 1.4 σ(AU15) − 0.9 σ(AU09)
    drive_a = 1.3 σ(AU05) + 0.8 σ(AU25) + 0.8 σ(AU26) + 0.6 σ(AU20) + 1.4 h / (h + 0.3) − 0.7
    τ dx/dt = drive − x
    affect  = tanh(x)

with h the head's speed in radians per second and τ of 1.2 s for valence, 0.8 s for arousal.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from mien_common.schema import AU_CHANNELS, AU_V1

Array = NDArray[np.float64]

HALF_INTENSITY: Final = 2.0
"""Intensity at which an action unit tells half of what it can."""
HALF_SPEED: Final = 0.3
"""Head speed, rad/s, likewise."""
TAU_S: Final = (1.2, 0.8)
"""Time constants of valence's and arousal's integrators."""
RESTING_AROUSAL: Final = -0.7

TERMS: Final = (
    "AU12",
    "AU06·AU12",
    "AU04",
    "AU15",
    "AU09",
    "AU05",
    "AU25",
    "AU26",
    "AU20",
    "head speed",
)
"""What the weights are of, in their order."""
VALENCE_WEIGHTS: Final = np.array([1.7, 1.0, -1.3, -1.4, -0.9, 0, 0, 0, 0, 0])
AROUSAL_WEIGHTS: Final = np.array([0, 0, 0, 0, 0, 1.3, 0.8, 0.8, 0.6, 1.4])


@dataclass(frozen=True)
class AffectMap:
    """One person's map: everybody's weights times the person's own factors."""

    factors: Array
    """(terms,) positive; 1 is the map as the module's first lines give it."""

    def affect(self, intensities: Array, head_speed: Array) -> Array:
        """(frames, 2) valence and arousal.

        Parameters
        ----------
        intensities : (frames, 17) true intensities 0 to 5, in the schema's order.
        head_speed : (frames,) rad/s.
        """
        told = terms(intensities, head_speed) * self.factors
        drives = (told @ VALENCE_WEIGHTS, told @ AROUSAL_WEIGHTS + RESTING_AROUSAL)
        states = [leaky(drive, tau_s) for drive, tau_s in zip(drives, TAU_S, strict=True)]
        return np.tanh(np.stack(states, axis=1))


def terms(intensities: Array, head_speed: Array) -> Array:
    """(frames, terms) what the weights multiply; parameters as in :meth:`AffectMap.affect`."""
    share = intensities / (intensities + HALF_INTENSITY)

    def of(number: int) -> Array:
        return np.asarray(share[:, AU_CHANNELS.index(f"AU{number:02d}_r")])

    speed = head_speed / (head_speed + HALF_SPEED)
    columns = [of(12), of(6) * of(12), of(4), of(15), of(9), of(5), of(25), of(26), of(20), speed]
    return np.stack(columns, axis=1)


def leaky(drive: Array, tau_s: float) -> Array:
    """(frames,) the state of τ dx/dt = drive − x at the schema's rate, at rest with the first drive."""
    kept = np.exp(-1.0 / (AU_V1.rate_hz * tau_s))
    state, _ = lfilter([1.0 - kept], [1.0, -kept], drive, zi=[kept * drive[0]])
    return np.asarray(state)
