"""The synthetic set's faces: action units that come, stay and go, and a head that moves.

Enters: how often a person shows what. Leaves: true action-unit intensities and head rotations, by frame.
Expressions are bundles of action units as the field describes them (Ekman & Friesen, 1978), and a face that
talks; three of them tell nothing of affect (blink, brow flash, chin raise), as much of a face's movement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from mien_common.schema import AU_CHANNELS, AU_V1

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Expression:
    """A bundle of action units that move together."""

    units: Mapping[int, float]
    """Share of the event's intensity by action unit."""
    onset_s: tuple[float, float]
    """Shortest and longest; offsets take half as long again."""
    apex_s: tuple[float, float]
    per_minute: float
    """How often an average person shows it."""


EXPRESSIONS: Final[Mapping[str, Expression]] = {
    "smile": Expression({6: 0.8, 12: 1.0, 25: 0.3}, (0.3, 0.9), (0.5, 4.0), 4.0),
    "polite smile": Expression({12: 0.8, 14: 0.5}, (0.3, 0.9), (0.5, 3.0), 2.5),
    "frown": Expression({4: 1.0, 7: 0.6}, (0.3, 0.8), (0.5, 3.0), 3.0),
    "sadness": Expression({1: 0.6, 4: 0.4, 15: 1.0, 17: 0.6}, (0.5, 1.2), (1.0, 4.0), 2.0),
    "disgust": Expression({9: 1.0, 10: 0.8, 4: 0.3}, (0.2, 0.6), (0.3, 1.5), 1.5),
    "surprise": Expression({1: 0.7, 2: 0.8, 5: 1.0, 25: 0.5, 26: 0.8}, (0.2, 0.5), (0.3, 1.5), 2.5),
    "wide eyes": Expression({5: 1.0, 7: 0.2}, (0.2, 0.5), (0.3, 2.0), 2.0),
    "talking": Expression({25: 0.8, 26: 0.5, 20: 0.3, 10: 0.2}, (0.1, 0.3), (0.1, 0.6), 14.0),
    "tense lips": Expression({20: 0.8, 23: 1.0}, (0.3, 0.8), (0.5, 3.0), 2.0),
    "blink": Expression({45: 1.0}, (0.06, 0.12), (0.02, 0.08), 14.0),
    "brow flash": Expression({1: 0.8, 2: 1.0}, (0.15, 0.4), (0.1, 1.0), 4.0),
    "chin raise": Expression({17: 1.0, 23: 0.4}, (0.2, 0.6), (0.3, 2.0), 2.0),
}

STRONGEST: Final = 5.0
_HEAD_TAU_S: Final = 0.5
_HEAD_RAD: Final = np.array([0.10, 0.14, 0.06])
"""Pitch, yaw and roll: standard deviation in a moving head."""
_MOVES_PER_MINUTE: Final = 5.0


def intensities(
    frames: int, rates_per_minute: Mapping[str, float], expressiveness: float, generator: np.random.Generator
) -> Array:
    """(frames, 17) true intensities 0 to 5: events of every expression at random times.

    Where events overlap, the stronger of the two shows.
    """
    shown = np.zeros((frames, len(AU_CHANNELS)))
    minutes = frames / AU_V1.rate_hz / 60
    for name, expression in EXPRESSIONS.items():
        for _ in range(generator.poisson(rates_per_minute[name] * minutes)):
            peak = min(STRONGEST, expressiveness * generator.uniform(1.5, 4.5))
            event = _event(expression, generator)
            start = int(generator.integers(-len(event) + 1, frames))
            first, last = max(start, 0), min(start + len(event), frames)
            for unit, share in expression.units.items():
                column = shown[first:last, AU_CHANNELS.index(f"AU{unit:02d}_r")]
                np.maximum(column, peak * share * event[first - start : last - start], out=column)
    return shown


def head_rotations(frames: int, restlessness: float, generator: np.random.Generator) -> Array:
    """(frames, 3) rotations in radians: a head that moves by spells."""
    spells = np.full(frames, 0.15)
    minutes = frames / AU_V1.rate_hz / 60
    for _ in range(generator.poisson(_MOVES_PER_MINUTE * minutes)):
        spell = _envelope(0.5, generator.uniform(0.5, 4.0), 0.8)
        start = int(generator.integers(-len(spell) + 1, frames))
        first, last = max(start, 0), min(start + len(spell), frames)
        np.maximum(spells[first:last], spell[first - start : last - start], out=spells[first:last])
    wander = generator.normal(size=(frames, 3))
    for _ in range(2):  # twice, so that the speed, too, is smooth
        wander = _slow(wander, _HEAD_TAU_S)
    wander /= np.maximum(wander.std(axis=0), 1e-9)
    return np.asarray(restlessness * _HEAD_RAD * spells[:, None] * wander)


def speed_of(rotations: Array) -> Array:
    """(frames,) the head's speed in rad/s from its (frames, 3) rotations."""
    return np.asarray(np.linalg.norm(np.gradient(rotations, 1 / AU_V1.rate_hz, axis=0), axis=1))


def slow_noise(frames: int, tau_s: float, generator: np.random.Generator) -> Array:
    """(frames,) noise of unit variance that forgets itself over ``tau_s`` (Ornstein–Uhlenbeck)."""
    kept = np.exp(-1.0 / (AU_V1.rate_hz * tau_s))
    start = [kept * generator.normal()]
    noise, _ = lfilter([np.sqrt(1 - kept**2)], [1.0, -kept], generator.normal(size=frames), zi=start)
    return np.asarray(noise)


def _slow(values: Array, tau_s: float) -> Array:
    kept = np.exp(-1.0 / (AU_V1.rate_hz * tau_s))
    return np.asarray(lfilter([1 - kept], [1.0, -kept], values, axis=0))


def _event(expression: Expression, generator: np.random.Generator) -> Array:
    onset_s = generator.uniform(*expression.onset_s)
    return _envelope(onset_s, generator.uniform(*expression.apex_s), 1.5 * onset_s)


def _envelope(onset_s: float, apex_s: float, offset_s: float) -> Array:
    """(frames,) from 0 to 1 and back, with half cosines for slopes."""
    up, top, down = (max(round(part * AU_V1.rate_hz), 1) for part in (onset_s, apex_s, offset_s))
    return np.concatenate([0.5 - _half_cosine(up), np.ones(top), 0.5 + _half_cosine(down)])


@cache
def _half_cosine(frames: int) -> Array:
    """(frames,) from ½ to −½, its ends left out; a few dozen lengths make most of a recording's time."""
    return np.asarray(0.5 * np.cos(np.pi * np.arange(1, frames + 1) / (frames + 1)))
