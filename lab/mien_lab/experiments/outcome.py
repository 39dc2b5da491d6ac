"""What one run of a comparison gives: a model trained by a method with a seed on a fold.

Enters: nothing; these are the types. Everything in a report, a table or a plot comes from here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class Job:
    """One run, by names from the configuration."""

    model: str
    method: str
    seed: int
    fold: str

    @property
    def id(self) -> str:
        """A name for its folder."""
        return f"{self.model}__{self.method}__seed-{self.seed}__{self.fold}".replace(" ", "_")


@dataclass(frozen=True)
class Scored:
    """A test recording with its prediction, on the ratings' own clock."""

    recording: str
    participant: str
    site: str | None
    """The site whose model predicted, where each has its own."""
    prediction: NDArray[np.float32]
    """(points, 2) valence, arousal after post-processing; frames, or windows under ``mase2021``."""
    gold: NDArray[np.float32]
    """(points, 2)"""
    counts: NDArray[np.bool_]
    """(points,) what the CCC is over."""
    why_undefined: str | None = None
    """Why the CCC is NaN, where it is."""


@dataclass(frozen=True)
class RoundPoint:
    """A round, or as many epochs, of training."""

    round: int
    loss: float
    """Mean training loss over sites, weighted by frames."""
    validation: tuple[float, float]
    """Pooled CCC of valence and arousal on the validation parts of training recordings."""
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    job: Job
    scored: tuple[Scored, ...]
    rounds: tuple[RoundPoint, ...]
    chosen_round: int
    lag_s: dict[str, tuple[float, float]]
    """Valence's and arousal's lag by site, or under "all"."""
    fitted: str
    """SHA-256 of all that was fitted: scalers, lags, post-processing, chosen round, weights."""
    frames: int
    """Frames trained on."""
    seconds: float
    device: str
    rule: Literal["none"] | str = "none"
    points_hz: float | None = None
    """Points a second in the scored traces, for the time axis: the frame rate, or windows a second under
    ``mase2021``; None where it is not known."""
    notes: tuple[str, ...] = ()
    """What a reader should know of its data, such as ratings that never change or a lag nothing decided."""
