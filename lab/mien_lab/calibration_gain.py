"""Whether a neutral face helps: how far people differ in action units when they do the same thing.

Two puppets whose resting faces lie at the ends of what `mien lab puppet` draws show the same
expressions. And, where there are clips of real people, a folder each: the spread of people's usual
action units, each clip measured against a neutral from the person's *other* clips.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.calibration import UNITS, KnownNeutral, Neutral, RunningNeutral
from mien_client.face.action_units import EXPERIMENTAL
from mien_client.face.process import FaceProcess
from mien_client.frames import Frame
from mien_client.observations import FaceState, Observation
from mien_client.resting_face import measure_rest
from mien_client.sources import open_source
from mien_common.schema import AU_CHANNELS
from mien_lab.puppet_expressions import EXPRESSIONS, HEAD
from mien_lab.puppet_face import Image, Stage, build_stage, read_photo
from mien_lab.puppet_filming import rest
from mien_lab.puppet_landmarks import photo_landmarks
from mien_lab.puppet_render import FRAME_SIZE, Framing, Light, Puppet

Units = NDArray[np.float64]

RATE_HZ: Final = 8.0
RESTING_FACES: Final[tuple[Mapping[str, float], ...]] = (
    {"smile": -0.06, "lips_close": 0.05, "brow_raise": -0.10, "frown": 0.12, "lid_close": 0.08},
    {
        "smile": 0.10,
        "lips_close": -0.10,
        "brow_raise": 0.12,
        "frown": 0.0,
        "lid_close": -0.04,
        "jaw_drop": 0.04,
    },
)
"""The ends of the ranges in :func:`mien_lab.puppet_script.participant`."""
SHOWN: Final[Mapping[str, float]] = {
    "smile": 0.6,
    "lip_corner_depress": 0.6,
    "jaw_drop": 0.5,
    "brow_raise": 0.7,
    "frown": 0.7,
    "lid_close": 0.4,
}
"""What both show, one after the other, on top of their own resting face."""

_IN_MODEL: Final = np.array([name not in EXPERIMENTAL for name in AU_CHANNELS])
_FEWEST_FRAMES: Final = 10


@dataclass(frozen=True)
class Agreement:
    """How far people lie apart, on the scale of 0 to 5; mean over action units."""

    raw: float
    running: float
    """Above a neutral from what was seen so far."""
    calibration: float


def between_puppets(rest_s: float, hold_s: float, rounds: int) -> Agreement:
    """Mean distance between two puppets' action units while both show the same expression.

    Parameters
    ----------
    rest_s : how long each is calibrated for.
    hold_s : how long each expression is held, and the resting face between two.
    rounds : how often all expressions are shown; the last time counts.
    """
    photo = read_photo(None)
    stage = build_stage(photo, photo_landmarks(photo))
    shown: list[dict[str, Units]] = []
    with FaceProcess(FRAME_SIZE[1], FRAME_SIZE[0]) as process:
        for index, face in enumerate(RESTING_FACES):
            puppet = Puppet(stage, Framing(mirrored=index % 2 == 1), Light())
            still = [_expression(stage, face, {})] * (round(rest_s * RATE_HZ) + 1)
            calm = measure_rest(process.analyse(_frames(puppet, still)), rest_s, lambda _: None)
            film = list(process.analyse(_frames(puppet, _script(stage, face, hold_s, rounds))))
            known = KnownNeutral(calm.neutral.astype(np.float32))
            shown.append({name: _held(film, neutral, hold_s) for name, neutral in _neutrals(known).items()})
    return Agreement(
        **{
            name: float(np.mean([np.abs(a[name] - b[name]) for a, b in combinations(shown, 2)]))
            for name in shown[0]
        }
    )


def between_people(folder: Path, say: Callable[[str], None]) -> tuple[Agreement, int, int]:
    """Standard deviation between people of their clips' median action units; people and clips that counted.

    Parameters
    ----------
    folder : a folder per person, with at least two clips each.
    """
    usual: dict[str, list[Units]] = {"raw": [], "running": [], "calibration": []}
    clips = 0
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        films = [film for path in sorted(person.iterdir()) if len(film := seen_in(path)) >= _FEWEST_FRAMES]
        if len(films) < 2:
            continue
        say(f"  {person.name}, {len(films)} clips")
        clips += len(films)
        own: dict[str, list[Units]] = {name: [] for name in usual}
        for index, film in enumerate(films):
            others = [seen for other in films[:index] + films[index + 1 :] for seen in other]
            calm = np.median([seen.values[:UNITS] for seen in others], axis=0)
            neutrals = _neutrals(KnownNeutral(calm.astype(np.float32)))
            for number, seen in enumerate(others):
                neutrals["running"].intensities(_at(seen, number / 25))
            for name, neutral in neutrals.items():
                # Frozen here: the clip itself must not teach what it is measured against.
                still = KnownNeutral(neutral.units)
                own[name].append(np.median([still.intensities(seen)[:UNITS] for seen in film], axis=0))
        for name, medians in own.items():
            usual[name].append(np.mean(medians, axis=0)[_IN_MODEL])
    people = len(usual["raw"])
    spread = {name: float(np.std(each, axis=0, ddof=1).mean()) for name, each in usual.items()}
    return Agreement(**spread), people, clips


def _neutrals(known: KnownNeutral) -> dict[str, KnownNeutral | RunningNeutral]:
    nothing = KnownNeutral(np.zeros(UNITS, np.float32))
    return {"raw": nothing, "running": RunningNeutral(), "calibration": known}


def _expression(stage: Stage, face: Mapping[str, float], more: Mapping[str, float]) -> NDArray[np.float32]:
    weights = rest(stage).model_dump()
    for part in (face, more):
        for name, weight in part.items():
            weights[name] = weights.get(name, 0.0) + weight
    return np.array([weights.get(name, 0.0) for name in EXPRESSIONS], np.float32)


def _script(stage: Stage, face: Mapping[str, float], hold_s: float, rounds: int) -> list[NDArray[np.float32]]:
    hold = round(hold_s * RATE_HZ)
    one_round: list[NDArray[np.float32]] = []
    for name, weight in SHOWN.items():
        one_round += [_expression(stage, face, {})] * hold
        one_round += [_expression(stage, face, {name: weight})] * hold
    return one_round * rounds


def _frames(puppet: Puppet, expressions: Sequence[NDArray[np.float32]]) -> Iterator[Frame]:
    head = np.zeros(len(HEAD), np.float32)
    pictures: dict[bytes, Image] = {}
    for number, expression in enumerate(expressions):
        key = expression.tobytes()
        if key not in pictures:
            pictures[key] = puppet.render(expression, head)
        yield Frame(number / RATE_HZ, pictures[key])


def _held(film: Sequence[Observation], neutral: Neutral, hold_s: float) -> Units:
    """(expressions, units) medians over the second half of each expression of the last round."""
    hold = round(hold_s * RATE_HZ)
    intensities = np.stack([neutral.intensities(seen)[:UNITS] for seen in film]).astype(np.float64)
    last = intensities[-2 * hold * len(SHOWN) :].reshape(len(SHOWN), 2 * hold, UNITS)
    return np.asarray(np.nanmedian(last[:, -(hold // 2) :], axis=1)[:, _IN_MODEL])


def seen_in(path: Path) -> list[Observation]:
    """The frames of a clip in which the whole face was measured."""
    with open_source(path) as source, FaceProcess(source.height, source.width) as face:
        return [seen for seen in face.analyse(source.frames()) if seen.state == FaceState.SEEN]


def _at(seen: Observation, time_s: float) -> Observation:
    return Observation(time_s, seen.state, seen.values)
