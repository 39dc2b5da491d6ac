"""Does each AU-like channel answer to its own action unit, and to no other? Puppet in, response matrix out.

The photograph's neutral face is shown, then one action unit after another, each held until the landmarker's
smoothing has settled: landmarks by the product's own face process, action units by the product's own
:func:`~mien_client.face.action_units.measure`. A response is what training would be given,
clip(raw − neutral, 0, 5), the neutral face of the same condition being the person's own.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_client.face.action_units import EXPERIMENTAL, MAX_INTENSITY, measure
from mien_client.face.landmarks import Face
from mien_client.face.process import FaceProcess
from mien_client.frames import Frame
from mien_common.errors import MienError
from mien_common.schema import AU_CHANNELS, STATIC_CHANNELS
from mien_lab.puppet_face import Image, Stage, build_stage, read_photo
from mien_lab.puppet_landmarks import photo_landmarks
from mien_lab.puppet_render import FRAME_SIZE, Framing
from mien_lab.puppet_script import RATE_HZ
from mien_lab.puppet_turn import yaw_map
from mien_lab.puppet_units import UNITS, UnitPuppet

BOUND: Final = 3.0
"""A driven unit must answer more than this many times as strongly as any other that is not coupled to it."""

COUPLED: Final[Mapping[int, Mapping[int, str]]] = {
    6: {7: "the lower lid rises in both (FACS, AU 6 and AU 7: one muscle, orbicularis oculi)"},
    7: {6: "the lower lid rises in both (FACS, AU 6 and AU 7: one muscle, orbicularis oculi)"},
    10: {25: "the raised upper lip leaves the lower one (FACS, AU 10: scored as 10 + 25)"},
    12: {6: "the cheeks rise and push the lower lid up (FACS, AU 12: strong ones show most of AU 6)"},
    15: {17: "the mouth arches in both (FACS, AU 15 and AU 17)"},
    17: {15: "the mouth arches in both (FACS, AU 15 and AU 17)"},
    26: {25: "a dropped jaw parts the lips (FACS, AU 26: scored as 25 + 26)"},
    45: {7: "the eye narrows on its way to closing (FACS, AU 45: the muscle of AU 7, orbicularis oculi)"},
}
"""By driven unit: which other channels may answer, and why. Nothing else is excused."""

EXPERIMENTAL_UNITS: Final = tuple(int(name[2:4]) for name in EXPERIMENTAL)
_HELD_FRAMES: Final = 16
_LAST_FRAMES: Final = 4
"""Settled after 12 frames to a thousandth of the eyes' distance; the median of the last ones counts."""
_TURN_RAD: Final = float(np.radians(32.0))
"""The photograph's relief is flat: turned by so much, the landmarker sees a head turned by 20 degrees."""
_CHEEKS: Final = (234, 454)
_MAPS_ACROSS: Final = 3
_YAW: Final = STATIC_CHANNELS.index("pose_Ry")


class ResponseError(MienError):
    """The puppet's face could not be measured."""


@dataclass(frozen=True)
class Condition:
    """How the head is turned and how large the face is."""

    name: str
    turn_rad: float = 0.0
    width_px: float | None = None
    """From cheek to cheek (landmarks 234 and 454) of the frontal face; as on the puppet's stage when None."""


CONDITIONS: Final = (
    Condition("frontal"),
    Condition("yaw −20°", turn_rad=-_TURN_RAD),
    Condition("yaw +20°", turn_rad=_TURN_RAD),
    Condition("66 px", width_px=66.0),
    Condition("300 px", width_px=300.0),
)


@dataclass(frozen=True)
class Response:
    """What was measured in one condition."""

    condition: Condition
    yaw_deg: float
    """The head's turn as the product measures it."""
    neutral: NDArray[np.float64]
    """(17,) raw values of the neutral face."""
    matrix: NDArray[np.float64]
    """(17, 17) response of each channel (columns) to each driven unit (rows), 0 to 5."""

    def rivals(self) -> dict[int, tuple[float, int]]:
        """For each driven unit that counts, its response as a multiple of its strongest rival's, and who."""
        found = {}
        for row, unit in enumerate(UNITS):
            if unit in EXPERIMENTAL_UNITS:
                continue
            others = {
                other: float(self.matrix[row, column])
                for column, other in enumerate(UNITS)
                if other != unit and other not in COUPLED.get(unit, {}) and other not in EXPERIMENTAL_UNITS
            }
            rival = max(others, key=lambda other: others[other])
            found[unit] = float(self.matrix[row, row]) / max(others[rival], 1e-3), rival
        return found


def measure_responses(
    conditions: tuple[Condition, ...] = CONDITIONS,
    progress: Callable[[int, int], None] = lambda *_: None,
    photo: Path | None = None,
) -> list[Response]:
    """The response matrix in each condition.

    Parameters
    ----------
    photo : a portrait; scikit-image's public-domain astronaut when None.
    progress : called with pictures measured and pictures in total.

    Raises
    ------
    InputError
        The photo can't be read, or shows no face that can be animated.
    ResponseError
        The landmarker lost the puppet's face.
    """
    portrait = read_photo(photo)
    stage = build_stage(portrait, photo_landmarks(portrait))
    pictures_each = len(UNITS) + 1
    found: list[Response] = []
    with (
        FaceProcess(FRAME_SIZE[1], FRAME_SIZE[0], "landmarks") as landmarker,
        FaceProcess(FRAME_SIZE[1], FRAME_SIZE[0]) as product,
    ):
        for condition in conditions:
            measured = []
            for raw in _settled(landmarker, condition.name, _pictures(stage, condition)):
                measured.append(raw)
                progress(len(found) * pictures_each + len(measured), len(conditions) * pictures_each)
            neutral, driven = measured[0], np.array(measured[1:])
            responses = np.clip(driven - neutral, 0.0, MAX_INTENSITY)
            yaw_rad = _yaw(product, condition.name, next(_pictures(stage, condition)))
            found.append(Response(condition, float(np.degrees(yaw_rad)), neutral, responses))
    return found


def _settled(landmarker: FaceProcess, name: str, pictures: Iterator[Image]) -> Iterator[NDArray[np.float64]]:
    """(17,) raw action units of each picture, once the landmarker's smoothing has settled on it."""
    held: list[NDArray[np.float64]] = []
    for points in landmarker.landmarks(_film(pictures)):
        if points is None:
            raise ResponseError(
                f"{name}: the landmarker finds no face in the animated photo. "
                "Use a larger, evenly lit, frontal one."
            )
        # Action units are measured of the landmarks alone; the rotation is only passed on.
        raw = measure(Face(points, {}, np.eye(3, dtype=np.float32)))[: len(AU_CHANNELS)]
        held.append(raw.astype(np.float64))
        if len(held) == _HELD_FRAMES:
            yield np.median(held[-_LAST_FRAMES:], axis=0)
            held.clear()


def _yaw(product: FaceProcess, name: str, neutral: Image) -> float:
    """The head's turn as every user's face process reports it."""
    seen = list(product.analyse(_film(iter([neutral]))))[-1]
    if not np.isfinite(seen.values[_YAW]):
        raise ResponseError(f"{name}: the neutral face was not seen ({seen.state.name}).")
    return float(seen.values[_YAW])


def _film(pictures: Iterator[Image]) -> Iterator[Frame]:
    """Every picture held for ``_HELD_FRAMES``."""
    for number, picture in enumerate(pictures):
        for frame in range(_HELD_FRAMES):
            yield Frame((number * _HELD_FRAMES + frame) / RATE_HZ, picture)


def _pictures(stage: Stage, condition: Condition) -> Iterator[Image]:
    """The neutral face, then each action unit alone."""
    shrink = _shrink(stage, condition)
    puppet = UnitPuppet(stage, Framing(scale=_scale(stage, condition) * shrink))
    turned = yaw_map(stage, condition.turn_rad)
    for units in ({}, *({unit: 1.0} for unit in UNITS)):
        picture = puppet.render(units, turned)
        if shrink > 1:  # averaged, as a sensor does; sampling alone would alias
            size = (FRAME_SIZE[0] // shrink, FRAME_SIZE[1] // shrink)
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        yield picture


def _scale(stage: Stage, condition: Condition) -> float:
    """Frame pixels per stage pixel."""
    if condition.width_px is None:
        return 1.0
    one, other = stage.landmarks[list(_CHEEKS), 0]
    return condition.width_px / abs(float(other - one))


def _shrink(stage: Stage, condition: Condition) -> int:
    return 2 if _scale(stage, condition) < 0.5 else 1


def as_csv(responses: list[Response]) -> bytes:
    """One row per condition and driven unit, one column per channel; the neutral face is driven unit 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["condition", "yaw_deg", "driven", *AU_CHANNELS])
    for response in responses:
        rows = [response.neutral, *response.matrix]
        for unit, row in zip((0, *UNITS), rows, strict=True):
            name, yaw = response.condition.name, f"{response.yaw_deg:.1f}"
            writer.writerow([name, yaw, unit, *(f"{value:.3f}" for value in row)])
    return text.getvalue().encode()


def heat_map(responses: list[Response]) -> bytes:
    """A PNG: one matrix per condition, driven units down, channels across; coupled ones are
    ringed, experimental ones dotted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(responses) // _MAPS_ACROSS)
    figure, axes = pyplot.subplots(
        rows, _MAPS_ACROSS, figsize=(4.6 * _MAPS_ACROSS, 4.8 * rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(responses) :]:
        axis.set_visible(False)
    for axis, response in zip(axes.flat, responses, strict=False):
        drawn = axis.imshow(response.matrix, cmap="viridis", vmin=0.0, vmax=MAX_INTENSITY)
        axis.set_xticks(range(len(UNITS)), [str(unit) for unit in UNITS], fontsize=8)
        axis.set_yticks(range(len(UNITS)), [str(unit) for unit in UNITS], fontsize=8)
        axis.set_title(response.condition.name, fontsize=11)
        axis.set_xlabel("channel that answers", fontsize=9)
        axis.set_ylabel("action unit driven", fontsize=9)
        for unit, others in COUPLED.items():
            for other in others:
                axis.plot(UNITS.index(other), UNITS.index(unit), "o", mfc="none", mec="white", ms=10)
        for unit in EXPERIMENTAL_UNITS:
            axis.axvline(UNITS.index(unit), color="white", linewidth=0.8, linestyle=":")
            axis.axhline(UNITS.index(unit), color="white", linewidth=0.8, linestyle=":")
    figure.colorbar(drawn, ax=axes[:, -1], shrink=0.7, label="response, 0 to 5")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=90)
    pyplot.close(figure)
    return picture.getvalue()
