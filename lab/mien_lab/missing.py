"""When is a face missing, and is that right? Puppets and real clips in, rates out.

Figures for ``docs/missing.md``: how well action units hold as the face gets smaller or darker, how often
a hand before the face is noticed in the parts it covers, and how often one is seen where there is none.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_client.face.action_units import measure
from mien_client.face.coverage import CHANNELS_OF_PARTS, PARTS
from mien_client.face.finder import FaceFinder, Look
from mien_client.face.landmarks import Landmarker
from mien_client.face.validity import face_width_px, luminance
from mien_client.observations import FaceState
from mien_common.schema import AU_CHANNELS
from mien_lab.puppet_face import Image, build_stage, read_photo
from mien_lab.puppet_filming import rest
from mien_lab.puppet_hand import hand_over
from mien_lab.puppet_landmarks import photo_landmarks
from mien_lab.puppet_render import Framing, Light, Puppet
from mien_lab.puppet_script import RATE_HZ, affect_script, movements, participant, shown

WIDTHS_PX: Final = (120, 66, 54, 48, 40, 36, 32, 28, 24)
GAINS: Final = (1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05)
_SECONDS: Final = 6.0
_READ_NOISE: Final = 2.0
_PHOTON_NOISE: Final = 0.15
"""A small sensor at full gain: variance 4 + 0.15·value, in 8-bit steps, at every pixel."""
_HANDS: Final[Mapping[str, tuple[float, float, float]]] = {
    "mouth": (320.0, 335.0, 95.0),
    "chin": (320.0, 385.0, 80.0),
    "eye_left": (268.0, 196.0, 55.0),
    "eye_right": (372.0, 196.0, 55.0),
    "nose": (320.0, 262.0, 60.0),
}
"""By the part it is laid over: the hand's middle and reach in the puppet's frame."""
_ARRIVES, _LIES, _LEAVES, _GONE = 50, 57, 82, 94
"""Frames. It arrives within a quarter of a second from outside; the last second is uncovered again."""


@dataclass(frozen=True)
class Agreement:
    """How well action units of a worse picture agree with those of the good one."""

    condition: str
    width_px: float
    luminance: float
    found: float
    """Share of frames with a face."""
    error: float
    """Root mean square over frames and action units, on the scale of 0 to 5, after each unit's constant
    offset is taken off, as the personal neutral does."""
    jitter: float
    """The same of the change from frame to frame."""
    ccc: float
    """Median over the action units, without the offset, too."""


@dataclass(frozen=True)
class Hand:
    """A hand over one part of the puppet's face."""

    part: str
    missing: float
    """Share of covered frames in which every channel that needs the part is missing."""
    falsely: float
    """Share of uncovered frames, before and after, in which any channel is missing."""


@dataclass(frozen=True)
class Clip:
    """One real clip."""

    name: str
    frames: int
    stock: int
    """Frames in which the bare landmarker finds a face."""
    found: int
    states: Mapping[str, int]
    faces: int


def lively_puppet() -> list[Image]:
    """Frames of a face that moves through its expressions."""
    photo = read_photo(None)
    stage = build_stage(photo, photo_landmarks(photo))
    who, random = participant(7, 1), np.random.default_rng(1)
    expressions, head = movements(who, rest(stage), random, shown(affect_script(random, _SECONDS)))
    puppet = Puppet(stage, Framing(), Light())
    return [puppet.render(*weights) for weights in zip(expressions, head, strict=True)]


def smaller_and_darker(frames: list[Image], say: Callable[[str], None]) -> Iterator[Agreement]:
    """Agreement at falling widths, then at falling light with a face of 66 pixels."""
    reference = _measured(frames)
    full_px = float(np.nanmedian(reference.widths))
    random = np.random.default_rng(0)
    for width in WIDTHS_PX:
        say(f"{width} px")
        smaller = [_noisy(_scaled(frame, width / full_px), 1.0, random) for frame in frames]
        yield _agreement(f"{width} px", _measured(smaller), reference)
    for gain in GAINS:
        say(f"light × {gain}")
        darker = [_noisy(_scaled(frame, 66 / full_px), gain, random) for frame in frames]
        yield _agreement(f"light × {gain}", _measured(darker), reference)


def hands(frames: list[Image], say: Callable[[str], None]) -> Iterator[Hand]:
    """A hand laid over each part in turn."""
    for part, (x, y, reach) in _HANDS.items():
        say(f"a hand over the {part}")
        covered = list(frames)
        for number in range(_ARRIVES, _LEAVES):
            way = 1.0 - min((number - _ARRIVES) / (_LIES - _ARRIVES), 1.0)
            sideways, down = (
                (0.0, 240.0) if part in ("mouth", "chin", "nose") else (np.sign(x - 320) * 240, 0.0)
            )
            covered[number] = hand_over(frames[number], x + way * sideways, y + way * down, reach)
        looks = _looked(covered)
        needs = CHANNELS_OF_PARTS[PARTS.index(part)]
        under = [np.isnan(look.values[: len(AU_CHANNELS)][needs]).all() for look in looks[_LIES:_LEAVES]]
        clear = [look.state != FaceState.SEEN for look in looks[:_ARRIVES] + looks[_GONE:]]
        yield Hand(part, float(np.mean(under)), float(np.mean(clear)))


def clips(folder: Path, say: Callable[[str], None]) -> Iterator[Clip]:
    """Real clips in the folders of a folder."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".mkv", ".gif", ".mp4", ".avi")):
        name = f"{path.parent.name}/{path.stem}"
        say(name)
        frames, rate_hz = _read(path)
        with Landmarker() as landmarker:
            stock = [landmarker.find(_rgb(one), _ms(number, rate_hz)) for number, one in enumerate(frames)]
        looks = _looked(frames, rate_hz)
        counted = Counter(look.state.name for look in looks)
        yield Clip(
            name=name,
            frames=len(frames),
            stock=sum(face is not None for face in stock),
            found=len(frames) - counted["NO_FACE"],
            states=dict(counted),
            faces=max((look.face for look in looks), default=0) + 1,
        )


@dataclass(frozen=True)
class _Measured:
    units: NDArray[np.float32]
    widths: NDArray[np.float64]
    luminances: NDArray[np.float64]


def _measured(frames: list[Image]) -> _Measured:
    units, widths, lights = [], [], []
    with Landmarker() as landmarker:
        for number, frame in enumerate(frames):
            face = landmarker.find(_rgb(frame), _ms(number, RATE_HZ))
            units.append(
                np.full(len(AU_CHANNELS), np.nan, np.float32)
                if face is None
                else measure(face)[: len(AU_CHANNELS)]
            )
            widths.append(np.nan if face is None else face_width_px(face))
            lights.append(np.nan if face is None else luminance(_rgb(frame), face))
    return _Measured(np.array(units, np.float32), np.array(widths), np.array(lights))


def _agreement(condition: str, measured: _Measured, reference: _Measured) -> Agreement:
    found = np.isfinite(measured.widths)
    ours, theirs = measured.units[found], reference.units[found]
    ours = ours - ours.mean(axis=0) + theirs.mean(axis=0)
    off = ours - theirs
    return Agreement(
        condition=condition,
        width_px=float(np.nanmedian(measured.widths)),
        luminance=float(np.nanmean(measured.luminances)),
        found=float(found.mean()),
        error=float(np.sqrt(np.square(off).mean())),
        jitter=float(np.sqrt(np.square(np.diff(off, axis=0)).mean() / 2)),
        ccc=float(np.median(_ccc(ours, theirs))),
    )


def _ccc(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Per column; Lin (1989)."""
    together = ((one - one.mean(0)) * (other - other.mean(0))).mean(0)
    apart = one.var(0) + other.var(0) + np.square(one.mean(0) - other.mean(0))
    return np.asarray(2 * together / apart, np.float32)


def _looked(frames: list[Image], rate_hz: float = RATE_HZ) -> list[Look]:
    with FaceFinder() as finder:
        return [finder.look(_rgb(frame), _ms(number, rate_hz)) for number, frame in enumerate(frames)]


def _noisy(frame: Image, gain: float, random: np.random.Generator) -> Image:
    light = frame.astype(np.float32) * gain
    noise = random.normal(size=frame.shape) * np.sqrt(_READ_NOISE**2 + _PHOTON_NOISE * light)
    return np.asarray(np.clip(np.rint(light + noise), 0, 255), np.uint8)


def _scaled(frame: Image, scale: float) -> Image:
    return np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _rgb(bgr: Image) -> Image:
    return np.ascontiguousarray(bgr[:, :, ::-1])


def _ms(number: int, rate_hz: float) -> int:
    return round(number * 1000 / rate_hz)


def _read(path: Path) -> tuple[list[Image], float]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(np.asarray(read[1], np.uint8))
    return frames, float(capture.get(cv2.CAP_PROP_FPS)) or RATE_HZ
