"""The synthetic set: invented faces with a known answer, to test methods on.

Enters: a seed. Leaves: a :class:`~mien_lab.corpora.corpus.Corpus` of ``au-v1`` features and several raters'
traces, and, beside it, what was planted. **No evidence about people**: nobody was filmed and nobody felt
anything. ``docs/synthetic.md`` gives the equations.

A person depends on the seed and their number only, a recording on its own number too, so that any of them can
be made alone, and a larger set begins with the smaller one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.schema import AU_CHANNELS, AU_V1

from . import synthetic_face as face
from .corpus import Corpus, RatedRecording
from .synthetic_map import TERMS, AffectMap, Array

NOTE: Final = "synthetic: made from a seed, no evidence about people"

MEAN_LAG_S: Final = 2.8
LAG_SPREAD_S: Final = 0.4
"""People's lags lie evenly within this much of the mean."""
_LEAD_S: Final = 10.0
"""The face moves before the recording begins, so that the first ratings follow something."""
_MISSING_PER_MINUTE: Final = 2.0
_MISSING_S: Final = (0.4, 3.0)
_FLAT_SHARE: Final = 0.2
_HABIT_SPREAD: Final = 0.8
_TOPIC_SPREAD: Final = 0.8
"""Standard deviations, in logarithms, of how often a person, and a recording, shows an expression."""
_JITTER: Final = 0.12
"""Standard deviation of what an action-unit estimator adds, in intensities."""
_RATER_NOISE_TAU_S: Final = 1.5


@dataclass(frozen=True)
class Rater:
    """How one rater's trace differs from the person's lagged affect."""

    lag_s: float
    """On top of the person's."""
    bias: Array
    """(2,) added to valence, arousal."""
    scale: Array
    """(2,)"""
    noise: float
    """Standard deviation of slow noise."""


@dataclass(frozen=True)
class Person:
    """All that is planted in one person."""

    name: str
    lag_s: float
    """Of the ratings behind the face; the raters' own come on top and average to 0."""
    gain: Array
    """(17,) measured intensity per true intensity."""
    rest: Array
    """(17,) measured intensity of the resting face."""
    pose: Array
    """(3,) the head's resting rotation, radians."""
    expressiveness: float
    rates_per_minute: Mapping[str, float]
    """How often they show each expression."""
    restlessness: float
    affect_map: AffectMap
    rating_bias: Array
    """(2,) valence, arousal: how pleasant and lively they seem to all raters."""
    rating_scale: Array
    """(2,)"""
    length: float
    """Of their recordings, as a share of what was asked for."""
    raters: tuple[Rater, ...]


@dataclass(frozen=True)
class Planted:
    """The known answer."""

    people: tuple[Person, ...]

    @property
    def lag_s(self) -> float:
        """The people's mean lag."""
        return float(np.mean([person.lag_s for person in self.people]))


def make_synthetic(
    seed: int = 7,
    participants: int = 20,
    *,
    recordings: int = 3,
    seconds: float = 60.0,
    raters: int = 3,
) -> Corpus:
    """A corpus of ``participants`` people, no two alike; the same arguments give the same numbers.

    Parameters
    ----------
    seconds : mean length of a recording; people's lengths differ.
    """
    made = [
        make_recording(person, seed, number, index, seconds=seconds)
        for number, person in enumerate(planted(seed, participants, raters=raters).people)
        for index in range(recordings)
    ]
    return Corpus(
        name="synthetic", channels=AU_V1.channels, rate_hz=AU_V1.rate_hz, recordings=tuple(made), note=NOTE
    )


def planted(seed: int = 7, participants: int = 20, *, raters: int = 3) -> Planted:
    """What :func:`make_synthetic` plants with the same arguments."""
    return Planted(tuple(make_person(seed, number, raters=raters) for number in range(participants)))


def make_person(seed: int, number: int, *, raters: int = 3) -> Person:
    """The ``number``-th person of a seed, from 0."""
    generator = np.random.default_rng((seed, number))
    units = len(AU_CHANNELS)
    flat = generator.random() < _FLAT_SHARE
    # What people show differs most: few of them show everything, and many mostly one thing.
    habits = np.exp(generator.normal(-0.5, _HABIT_SPREAD, size=len(face.EXPRESSIONS)))
    rates = {
        name: float(expression.per_minute * habit)
        for (name, expression), habit in zip(face.EXPRESSIONS.items(), habits, strict=True)
    }
    jitters = generator.uniform(-0.3, 0.3, size=raters)
    return Person(
        name=f"P{number + 1:02d}",
        lag_s=float(MEAN_LAG_S + generator.uniform(-LAG_SPREAD_S, LAG_SPREAD_S)),
        gain=np.exp(generator.normal(0, 0.3, size=units)),
        rest=generator.exponential(0.3, size=units),
        pose=generator.normal(0, 0.08, size=3),
        expressiveness=float(generator.uniform(0.35, 0.5) if flat else generator.uniform(0.8, 1.2)),
        rates_per_minute=rates,
        restlessness=float(np.exp(generator.normal(0, 0.3))),
        affect_map=AffectMap(np.exp(generator.normal(0, 0.2, size=len(TERMS)))),
        rating_bias=generator.normal(0, 0.08, size=2),
        rating_scale=generator.uniform(0.75, 1.0, size=2),
        length=float(generator.uniform(0.6, 1.4)),
        raters=tuple(
            Rater(
                lag_s=float(jitter),
                bias=generator.normal(0, 0.04, size=2),
                scale=generator.uniform(0.85, 1.1, size=2),
                noise=float(generator.uniform(0.03, 0.08)),
            )
            for jitter in jitters - jitters.mean()
        ),
    )


def make_recording(
    person: Person, seed: int, number: int, index: int, *, seconds: float = 60.0
) -> RatedRecording:
    """The ``index``-th recording of the ``number``-th person of a seed, both from 0."""
    generator = np.random.default_rng((seed, number, index))
    lead = round(_LEAD_S * AU_V1.rate_hz)
    frames = max(round(seconds * person.length * AU_V1.rate_hz), 2)
    topic = np.exp(generator.normal(0, _TOPIC_SPREAD, size=len(person.rates_per_minute)))
    rates = {
        name: rate * share for (name, rate), share in zip(person.rates_per_minute.items(), topic, strict=True)
    }
    true = face.intensities(lead + frames, rates, person.expressiveness, generator)
    turns = face.head_rotations(lead + frames, person.restlessness, generator)
    affect = person.affect_map.affect(true, face.speed_of(turns))
    values, valid = _measured(person, true[lead:], turns[lead:], generator)
    clock_s = np.arange(-lead, frames) / AU_V1.rate_hz
    return RatedRecording(
        name=f"{person.name}-{index + 1}",
        participant=person.name,
        features=values,
        valid=valid,
        raters=tuple(f"R{position + 1}" for position in range(len(person.raters))),
        ratings=np.stack([_rated(person, rater, affect, clock_s, generator) for rater in person.raters]),
        gold=None,
        source=Path("synthetic") / f"{person.name}-{index + 1}",
    )


def _measured(
    person: Person, true: Array, turns: Array, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features (frames, 40) as an estimator would see the face, and (frames,) whether all are known."""
    noise = generator.normal(0, _JITTER, size=true.shape)
    units = np.clip(person.rest + person.gain * true + noise, 0, face.STRONGEST)
    pose = person.pose + turns + generator.normal(0, 0.002, size=turns.shape)
    static = np.concatenate([units, pose], axis=1)
    static[_missing(len(static), generator)] = np.nan
    deltas = np.diff(static, axis=0, prepend=np.full((1, static.shape[1]), np.nan))
    values = np.concatenate([static, deltas], axis=1).astype(np.float32)
    return values, np.asarray(np.isfinite(values).all(axis=1))


def _missing(frames: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """(frames,) whether the face is out of sight."""
    gone = np.zeros(frames, bool)
    for _ in range(generator.poisson(_MISSING_PER_MINUTE * frames / AU_V1.rate_hz / 60)):
        start = int(generator.integers(frames))
        gone[start : start + round(generator.uniform(*_MISSING_S) * AU_V1.rate_hz)] = True
    return gone


def _rated(
    person: Person, rater: Rater, affect: Array, clock_s: Array, generator: np.random.Generator
) -> NDArray[np.float32]:
    """(frames, 2) one rater's trace of the frames from 0 s on."""
    when_s = clock_s[clock_s >= 0]
    trace = np.empty((len(when_s), 2))
    for target in range(2):
        seen = np.interp(when_s - person.lag_s - rater.lag_s, clock_s, affect[:, target])
        person_s = person.rating_bias[target] + person.rating_scale[target] * seen
        noise = rater.noise * face.slow_noise(len(when_s), _RATER_NOISE_TAU_S, generator)
        trace[:, target] = rater.bias[target] + rater.scale[target] * person_s + noise
    return np.clip(trace, -1, 1).astype(np.float32)
