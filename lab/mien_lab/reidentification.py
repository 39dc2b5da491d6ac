"""Whether a person can be found again among others by action units: clips of known people in, hit rates out.

Nothing leaves. The attack is the plainest there is, so that its figure is a lower bound: a trace is its mean,
standardised; the nearest one is taken for the same person.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.calibration import UNITS, RunningNeutral
from mien_client.face.action_units import EXPERIMENTAL
from mien_client.observations import Observation
from mien_common.errors import InputError
from mien_common.schema import AU_CHANNELS
from mien_lab.calibration_gain import seen_in

Units = NDArray[np.float64]

FEWEST_FRAMES: Final = 20
_Z: Final = 1.959963984540054
"""Of a 95 % interval."""
_IN_MODEL: Final = np.array([name not in EXPERIMENTAL for name in AU_CHANNELS])


@dataclass(frozen=True)
class Trace:
    """Action units of one clip."""

    person: str
    raw: Units
    """(frames, units), before a person's own neutral face is subtracted."""
    stored: Units
    """(frames, units), above the neutral learnt from the clip: what a site keeps, and a model reads."""


@dataclass(frozen=True)
class HitRate:
    """How often the nearest trace was of the same person."""

    hits: int
    tries: int
    chance: float
    """The rate of somebody who draws one of the others."""

    @property
    def rate(self) -> float:
        """Share of hits; NaN without a try."""
        return self.hits / self.tries if self.tries else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 % (Wilson, 1927), as if tries were independent, which two clips of one person are not."""
        if not self.tries:
            return math.nan, math.nan
        n, p = self.tries, self.rate
        middle, spread = p + _Z**2 / (2 * n), _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return (middle - spread) / (1 + _Z**2 / n), (middle + spread) / (1 + _Z**2 / n)


FORMS: Final[Mapping[str, Callable[[Trace], Units]]] = {
    "as measured": lambda trace: trace.raw,
    "as stored, above the learnt neutral": lambda trace: trace.stored,
    "as measured, less the clip's median": lambda trace: trace.raw - np.median(trace.raw, axis=0),
}
"""What the attacker has."""


def read_traces(folder: Path, say: Callable[[str], None]) -> list[Trace]:
    """A trace of every clip in which a face was seen for long enough.

    Parameters
    ----------
    folder : a folder per person, with that person's clips in it.

    Raises
    ------
    InputError
        There are fewer than two people to tell apart.
    """
    traces = []
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(person.iterdir()):
            seen = seen_in(path)
            say(f"{person.name}/{path.name}: {len(seen)} frames")
            if len(seen) >= FEWEST_FRAMES:
                traces.append(_trace(person.name, seen))
    if len({trace.person for trace in traces}) < 2:
        raise InputError(
            f"{folder} shows fewer than two people for {FEWEST_FRAMES} frames or more. Give a folder that "
            "has a folder per person, with film clips in it."
        )
    return traces


def within_clips(traces: Sequence[Trace], form: Callable[[Trace], Units]) -> HitRate:
    """Find the second half of each clip again among the first halves of all."""
    halves = [np.array_split(form(trace), 2) for trace in traces]
    people = [trace.person for trace in traces]
    first, second = _standardised([half[0] for half in halves], [half[1] for half in halves])
    return _hits(second, people, first, people)


def between_clips(traces: Sequence[Trace], form: Callable[[Trace], Units]) -> HitRate:
    """Find each clip again among all others, where the person has another one."""
    people = [trace.person for trace in traces]
    (means,) = _standardised([form(trace) for trace in traces])
    others = [
        _hits(means[[own]], [people[own]], np.delete(means, own, 0), people[:own] + people[own + 1 :])
        for own in range(len(traces))
        if people.count(people[own]) > 1
    ]
    tries = len(others)
    return HitRate(
        sum(each.hits for each in others),
        tries,
        sum(each.chance for each in others) / tries if tries else math.nan,
    )


def _hits(probes: Units, whose: Sequence[str], gallery: Units, owners: Sequence[str]) -> HitRate:
    distances = np.linalg.norm(probes[:, None] - gallery[None], axis=2)
    found = [owners[int(place)] for place in distances.argmin(axis=1)]
    chance = float(np.mean([owners.count(person) / len(owners) for person in whose]))
    return HitRate(sum(map(str.__eq__, found, whose)), len(whose), chance)


def _standardised(*sets: Sequence[Units]) -> list[Units]:
    """(clips, units) means of each set, in standard deviations of the frames of the first."""
    deviation = np.std(np.concatenate(sets[0]), axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return [np.stack([part.mean(axis=0) for part in parts]) / scale for parts in sets]


def _trace(person: str, seen: Sequence[Observation]) -> Trace:
    neutral = RunningNeutral()
    stored = np.stack([neutral.intensities(each)[:UNITS] for each in seen])
    raw = np.stack([each.values[:UNITS] for each in seen])
    return Trace(person, raw[:, _IN_MODEL].astype(np.float64), stored[:, _IN_MODEL].astype(np.float64))
