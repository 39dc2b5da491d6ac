"""Measures a resting face: what ``mien agent calibrate`` does with some seconds of observations.

Enters: :class:`~mien_client.observations.Observation` per frame of a face that should be at rest.
Leaves: a median and a spread per action unit, or the reason why this was no resting face.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import VideoError
from mien_common.schema import AU_CHANNELS
from mien_common.versions import versions

from .calibration import LONGEST_STEP_S, UNITS, teaches
from .face.action_units import EXPERIMENTAL
from .observations import FaceState, Observation
from .participants import Calibration, Rest

SHORTEST_REST_S: Final = 5.0
PATIENCE: Final = 3.0
"""How many times as long as wanted is waited for enough of a face that looks into the camera."""

LARGEST_SPREAD: Final = 1.0
"""Standard deviation by the interquartile range, which blinks and a passing smile do not move. Landmarks of a
still face jitter by 0.1 to 0.5; one that speaks or smiles a third of the time goes far above 1."""
TELLING: Final = ("AU12_r", "AU15_r", "AU26_r")
"""Units in which resting faces hardly differ: by 1.3 at most, standard deviation over five people."""
USUAL_REST: Final = 3.0
"""A telling unit further from the average face is pointed out; not refused, for faces are not all alike."""

_QUARTILES_APART: Final = 1.349
"""Interquartile range of a standard normal distribution."""

Turned = Literal["turned"]
_ADVICE: Final[dict[FaceState | Turned, str]] = {
    "turned": "It was turned aside, up or down: look into the camera",
    FaceState.SEEN: "Show it for longer",
    FaceState.NO_FRAME: "The source gave no picture most of the time",
    FaceState.NO_FACE: "No face was found: bring it into the middle of the picture",
    FaceState.PROFILE: "It was turned aside: look into the camera",
    FaceState.SMALL: "It was too small: come nearer",
    FaceState.DARK: "It was too dark: turn on a light in front of it",
    FaceState.COVERED: "It was partly covered: take hands and hair away from it",
}


@dataclass(frozen=True)
class RestingFace:
    """What was measured."""

    neutral: NDArray[np.float64]
    """(17,) median of each raw action unit."""
    spread: NDArray[np.float64]
    """(17,) standard deviation of each, by the interquartile range."""
    seconds: float
    frames: int

    def unusual(self) -> list[str]:
        """Telling action units further from an average resting face than resting faces usually are."""
        return [
            name.removesuffix("_r")
            for name, neutral in zip(AU_CHANNELS, self.neutral.tolist(), strict=True)
            if abs(neutral) > USUAL_REST and name in TELLING
        ]

    def calibration(self, participant: str, source: Literal["camera", "recording"]) -> Calibration:
        """What the site keeps of it."""
        rests = zip(self.neutral.round(4).tolist(), self.spread.round(4).tolist(), strict=True)
        return Calibration(
            participant=participant,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            source=source,
            seconds=round(self.seconds, 2),
            frames=self.frames,
            units={
                name: Rest(neutral=neutral, spread=spread)
                for name, (neutral, spread) in zip(AU_CHANNELS, rests, strict=True)
            },
            versions=versions(),
        )


def measure_rest(
    observations: Iterable[Observation], wanted_s: float, progress: Callable[[int], None]
) -> RestingFace:
    """The neutral face in ``wanted_s`` of near-frontal face, wherever they begin.

    Parameters
    ----------
    observations : taken until there is enough, the source ends, or :data:`PATIENCE` does.
    progress : called with the frames measured so far.

    Raises
    ------
    VideoError
        There is too little face, more than one, or one that moved; the message says what to do.
    """
    frames: list[NDArray[np.float32]] = []
    rest_s, lost_s = 0.0, dict.fromkeys(_ADVICE, 0.0)
    start_s = last_s = None
    face = None
    for seen in observations:
        start_s = seen.time_s if start_s is None else start_s
        step_s = 0.0 if last_s is None else min(seen.time_s - last_s, LONGEST_STEP_S)
        last_s = seen.time_s
        if seen.state == FaceState.SEEN and np.isfinite(seen.values[:UNITS]).all() and teaches(seen):
            if face is not None and seen.face != face:
                raise VideoError(
                    f"another face was taken up after {seen.time_s - start_s:.1f} s. Let one person be in "
                    "the picture, and calibrate again."
                )
            face = seen.face
            frames.append(seen.values[:UNITS])
            rest_s += step_s
            progress(len(frames))
        else:
            lost_s["turned" if seen.state == FaceState.SEEN else seen.state] += step_s
        if rest_s >= wanted_s or seen.time_s - start_s >= PATIENCE * wanted_s:
            break
    if rest_s < SHORTEST_REST_S:
        away_s = sum(lost_s.values())
        why = max(lost_s, key=lambda reason: lost_s[reason]) if away_s > rest_s else FaceState.SEEN
        raise VideoError(
            f"a resting face was seen for {rest_s:.1f} of {rest_s + away_s:.1f} s, and "
            f"{SHORTEST_REST_S:g} s are needed. {_ADVICE[why]}, and calibrate again."
        )
    return _calm(np.stack(frames).astype(np.float64), rest_s)


def _calm(frames: NDArray[np.float64], rest_s: float) -> RestingFace:
    low, neutral, high = np.quantile(frames, (0.25, 0.5, 0.75), axis=0)
    spread = (high - low) / _QUARTILES_APART
    moved = [
        f"{name.removesuffix('_r')} varied by {spread[unit]:.1f}"
        for unit, name in enumerate(AU_CHANNELS)
        if spread[unit] > LARGEST_SPREAD and name not in EXPERIMENTAL
    ]
    if moved:
        raise VideoError(
            f"this was no resting face: {', '.join(moved)} on the scale of 0 to 5, and {LARGEST_SPREAD:g} is "
            "the most at rest. Look calmly into the camera without speaking, and calibrate again."
        )
    return RestingFace(neutral, spread, rest_s, len(frames))
