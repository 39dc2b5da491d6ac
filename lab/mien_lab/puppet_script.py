"""What a puppet feels and how it shows: seeds in, valence, arousal and movement weights out.

Nothing here knows about pictures. A script is a pair of smooth traces; a :class:`Participant` turns
it into expression weights (the face at time t) and into ratings (the face at t − lag).
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mien_lab.puppet_expressions import EXPRESSIONS, HEAD
from mien_lab.puppet_render import Framing, Light

Traces = NDArray[np.float64]

RATE_HZ: Final = 25
LONGEST_LAG_S: Final = 4.0
"""Scripts begin this long before the video, so that the first ratings have a face to follow."""

_SPREAD: Final = 0.5
_PEAK: Final = 0.95
_BAND_HZ: Final = (0.03, 0.25)
_WAVES: Final = 9
_SHORTEST_BASIS_S: Final = 30.0
_BLINK_S: Final = 0.30
_BLINK_CLOSURE: Final = 1.05

NOTE: Final = (
    "Synthetic: a puppeteered photograph. Good for testing the whole path from video to model; "
    "no evidence about people."
)


class Rest(BaseModel):
    """Weights that take the expression out of a photograph: its neutral face."""

    model_config = ConfigDict(frozen=True)

    smile: float
    lips_close: float


class Participant(BaseModel):
    """One puppet: everything that makes it differ from the next."""

    model_config = ConfigDict(frozen=True)

    name: str
    synthetic: Literal[True] = True
    note: str = NOTE
    seed: int
    index: int
    lag_s: float
    """Ratings at time t follow the face at t − ``lag_s``."""
    rating_bias: tuple[float, float]
    rating_scale: tuple[float, float]
    rating_noise: float
    """Standard deviation of the rater's own smooth wandering."""
    expressiveness: tuple[float, float]
    """How strongly valence and arousal show."""
    resting_face: dict[str, float]
    """Added to the photograph's neutral weights."""
    restlessness: float
    blinks_per_minute: float
    framing: Framing
    light: Light


def participant(seed: int, index: int) -> Participant:
    """The ``index``-th puppet (from 1) of a seed; it does not depend on how many others there are."""
    random = np.random.default_rng([seed, index])

    def between(low: float, high: float) -> float:
        return round(float(random.uniform(low, high)), 4)

    return Participant(
        name=f"participant-{index:02d}",
        seed=seed,
        index=index,
        lag_s=round(round(between(1.0, LONGEST_LAG_S) * RATE_HZ) / RATE_HZ, 2),
        rating_bias=(between(-0.12, 0.12), between(-0.12, 0.12)),
        rating_scale=(between(0.88, 1.0), between(0.88, 1.0)),
        rating_noise=between(0.02, 0.04),
        expressiveness=(between(0.8, 1.2), between(0.8, 1.2)),
        resting_face={
            "smile": between(-0.06, 0.10),
            "lips_close": between(-0.10, 0.05),
            "jaw_drop": between(0.0, 0.04),
            "brow_raise": between(-0.10, 0.12),
            "frown": between(0.0, 0.12),
            "lid_close": between(-0.04, 0.08),
        },
        restlessness=between(0.6, 1.3),
        blinks_per_minute=between(8.0, 18.0),
        framing=Framing(
            scale=between(0.85, 1.15),
            offset_x=between(-45.0, 45.0),
            offset_y=between(-20.0, 20.0),
            mirrored=index % 2 == 0,
        ),
        light=Light(
            gain=between(0.80, 1.10),
            gamma=between(0.85, 1.20),
            tint_bgr=(between(0.92, 1.06), between(0.96, 1.03), between(0.94, 1.08)),
        ),
    )


def affect_script(random: np.random.Generator, seconds: float) -> Traces:
    """Valence and arousal at 25 Hz from ``LONGEST_LAG_S`` before the video to its end.

    Sums of sinusoids of 0.03–0.25 Hz with random phases, made uncorrelated, with a standard
    deviation of about 0.4, inside (−1, 1).

    Returns
    -------
    (frames, 2) float64
    """
    wanted = frame_count(seconds) + round(LONGEST_LAG_S * RATE_HZ)
    # A session of a few seconds is cut from a longer script: scaled by itself it would twitch.
    basis = max(wanted, round(_SHORTEST_BASIS_S * RATE_HZ))
    traces = _waves(random, basis, 2)
    traces -= traces.mean(0)
    traces[:, 1] -= traces[:, 0] * (traces[:, 0] @ traces[:, 1]) / (traces[:, 0] @ traces[:, 0])
    traces /= traces.std(0)
    return np.asarray((_PEAK * np.tanh(traces * _SPREAD / _PEAK))[:wanted])


def shown(script: Traces) -> Traces:
    """The part of a script that the video shows: (frames, 2)."""
    return script[round(LONGEST_LAG_S * RATE_HZ) :]


def ratings(who: Participant, random: np.random.Generator, script: Traces) -> Traces:
    """(frames, 2) valence and arousal as a rater who lags, exaggerates little and wanders gives them."""
    frames = len(shown(script))
    start = round((LONGEST_LAG_S - who.lag_s) * RATE_HZ)
    seen = script[start : start + frames]
    wander = who.rating_noise * _standard(_waves(random, max(frames, 750), 2))[:frames]
    return np.clip(seen * who.rating_scale + who.rating_bias + wander, -1.0, 1.0)


def movements(
    who: Participant, rest: Rest, random: np.random.Generator, affect: Traces
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights for every frame: expressions (frames, 7) and head (frames, 5).

    Parameters
    ----------
    affect : (frames, 2) valence and arousal shown at each frame, from :func:`shown`.
    """
    frames = len(affect)
    valence, arousal = (affect * who.expressiveness).T
    pleased, displeased = _positive(valence), _positive(-valence)
    roused, calm = _positive(arousal), _positive(-arousal)
    closed = rest.lips_close * (1.0 - 0.8 * pleased)
    weights = {
        "smile": rest.smile + 0.25 + 0.80 * pleased - 0.25 * displeased,
        "lip_corner_depress": 0.70 * displeased,
        "lips_close": closed,
        "jaw_drop": 0.80 * roused,
        "brow_raise": 0.25 + 0.95 * roused - 0.45 * calm,
        "frown": 0.90 * displeased,
        "lid_close": 0.45 * calm - 0.40 * roused,
    }
    random_wander = _standard(_waves(random, max(frames, 750), len(EXPRESSIONS) + len(HEAD)))[:frames]
    expressions = np.column_stack([weights[name] + who.resting_face.get(name, 0.0) for name in EXPRESSIONS])
    expressions += 0.03 * random_wander[:, : len(EXPRESSIONS)]
    expressions[:, EXPRESSIONS.index("lips_close")] = np.clip(
        expressions[:, EXPRESSIONS.index("lips_close")], 0.0, 0.92
    )
    lid = expressions[:, EXPRESSIONS.index("lid_close")]
    lid += (_BLINK_CLOSURE - lid) * _blinks(random, who.blinks_per_minute * (1.0 + 0.6 * arousal))
    liveliness = who.restlessness * (1.0 + 0.4 * arousal)
    head = random_wander[:, len(EXPRESSIONS) :] * np.array([0.055, 0.035, 0.03, 0.02, 0.015])
    head *= liveliness[:, None]
    return expressions.astype(np.float32), head.astype(np.float32)


def resting(
    who: Participant, rest: Rest, random: np.random.Generator, frames: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights of a face that does nothing but blink and sway a little, like :func:`movements`."""
    own = rest.model_dump()
    base = np.array([own.get(name, 0.0) + who.resting_face.get(name, 0.0) for name in EXPRESSIONS])
    wander = _standard(_waves(random, max(frames, 750), len(EXPRESSIONS) + len(HEAD)))[:frames]
    expressions = base + 0.01 * wander[:, : len(EXPRESSIONS)]
    closed = EXPRESSIONS.index("lips_close")
    expressions[:, closed] = np.clip(expressions[:, closed], 0.0, 0.92)
    lid = expressions[:, EXPRESSIONS.index("lid_close")]
    lid += (_BLINK_CLOSURE - lid) * _blinks(random, np.full(frames, who.blinks_per_minute))
    head = 0.01 * who.restlessness * wander[:, len(EXPRESSIONS) :]
    return expressions.astype(np.float32), head.astype(np.float32)


def rest_of(lip_gap: float, corner_lift: float) -> Rest:
    """The neutral face of a photograph whose mouth is open or smiling; lengths in eye distances."""
    return Rest(
        smile=-float(np.clip((corner_lift - 0.01) / 0.10, 0.0, 0.95)),
        lips_close=float(np.clip(1.0 - 0.022 / max(lip_gap, 0.022), 0.0, 0.85)),
    )


def frame_count(seconds: float) -> int:
    """Frames in a video of this length."""
    return max(round(seconds * RATE_HZ), 1)


def _waves(random: np.random.Generator, frames: int, count: int) -> Traces:
    """(frames, count) sums of sinusoids, one frequency drawn from each slice of the band."""
    edges = np.geomspace(*_BAND_HZ, _WAVES + 1)
    frequency = random.uniform(edges[:-1, None], edges[1:, None], (_WAVES, count))
    phase = random.uniform(0.0, 2 * np.pi, (_WAVES, count))
    amplitude = random.uniform(0.6, 1.4, (_WAVES, count)) / np.sqrt(1.0 + np.square(frequency / 0.12))
    clock = np.arange(frames)[:, None, None] / RATE_HZ
    return np.asarray((amplitude * np.sin(2 * np.pi * frequency * clock + phase)).sum(1))


def _standard(traces: Traces) -> Traces:
    return np.asarray((traces - traces.mean(0)) / traces.std(0))


def _positive(trace: Traces) -> Traces:
    """The positive part, without the corner at zero."""
    return np.asarray((trace + np.sqrt(np.square(trace) + 0.01)) / 2 - 0.05)


def _blinks(random: np.random.Generator, per_minute: Traces) -> Traces:
    """How far through a blink each frame is: 0 open, 1 closed."""
    frames = len(per_minute)
    starts = np.flatnonzero(random.random(frames) < per_minute / 60 / RATE_HZ)
    clock = np.arange(frames)
    envelope = np.zeros(frames)
    for start in starts:
        share = np.clip((clock - start) / (_BLINK_S * RATE_HZ), 0.0, 1.0)
        envelope = np.maximum(envelope, np.square(np.sin(np.pi * share)))
    return envelope
