"""One frame of the puppet: expression and head weights in, a BGR picture out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from mien_lab.puppet_expressions import (
    EXPRESSIONS,
    FACE_CELL_PX,
    FACE_ORIGIN,
    HEAD_CELL_PX,
    NO_SECOND_MAP,
    expression_fields,
    flow,
    head_fields,
    sampled,
)
from mien_lab.puppet_face import EYE_DISTANCE, EYES_AT, Floats, Image, Stage

FRAME_SIZE: Final = (640, 480)
_MAP_CELL_PX: Final = 2
FACE_HALVINGS: Final = 4
_HEAD_HALVINGS: Final = 3
_LIPS_CLOSE: Final = EXPRESSIONS.index("lips_close")
_JAW_DROP: Final = EXPRESSIONS.index("jaw_drop")


class Framing(BaseModel):
    """Where the camera stands."""

    model_config = ConfigDict(frozen=True)

    scale: float = 1.0
    """Frame pixels per stage pixel; at 1 the outer eye corners are 130 pixels apart."""
    offset_x: float = 0.0
    """Frame pixels that the face is moved to the right, and below down."""
    offset_y: float = 0.0
    mirrored: bool = False


class Light(BaseModel):
    """What the camera makes of the colours: 255·tint·gain·(value/255)^gamma."""

    model_config = ConfigDict(frozen=True)

    gain: float = 1.0
    gamma: float = 1.0
    tint_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class _Region:
    """A part of the frame in which eyes or mouth may lie, whatever the head does."""

    rows: slice
    columns: slice

    def fine(self, coarse: Floats) -> Floats:
        """This part of a map that has one cell for every second pixel, at every pixel."""
        rows, columns = (
            slice(part.start // _MAP_CELL_PX, part.stop // _MAP_CELL_PX) for part in (self.rows, self.columns)
        )
        size = (self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)
        part = np.ascontiguousarray(coarse[rows, columns])
        return _resized(part, size)


class Puppet:
    """A stage seen by one camera; :meth:`render` is a pure function of the weights."""

    def __init__(self, stage: Stage, framing: Framing, light: Light) -> None:
        colours = _colour_table(light)
        # Four channels: what the lower layer shows through comes along for nothing, and OpenCV warps
        # four channels in half the time of three. Lit once for all frames; warping only moves pixels.
        self._skin = np.dstack([cv2.LUT(stage.skin, colours), stage.openings])
        self._beneath = np.dstack([cv2.LUT(stage.beneath, colours), stage.openings])
        self._expressions = expression_fields(stage)
        self._head = head_fields(stage)
        self._stage_map = _stage_map(framing)
        self._on_head = self._stage_map / np.float32(HEAD_CELL_PX)
        self._on_face = (self._stage_map - np.array(FACE_ORIGIN, np.float32)) / np.float32(FACE_CELL_PX)
        self._lip_gap = max(stage.lip_gap(), 0.02)
        self._regions = _regions(stage, self._stage_map)

    def render(self, expressions: Floats, head: Floats) -> Image:
        """One frame.

        Parameters
        ----------
        expressions : (7,) float32, ordered as ``EXPRESSIONS``
        head : (5,) float32, ordered as ``HEAD``

        Returns
        -------
        (480, 640, 3) uint8, BGR
        """
        mouth = self._mouth_openness(float(expressions[_LIPS_CLOSE]), float(expressions[_JAW_DROP]))
        turned = flow(blend(head, self._head), _HEAD_HALVINGS) * np.float32(HEAD_CELL_PX)
        return self.render_moved([blend(expressions, self._expressions)], turned, mouth)

    def render_moved(self, velocities: Sequence[Floats], turned: Floats, mouth: float) -> Image:
        """One frame of a face that follows any velocity fields, on a head turned in any way.

        Parameters
        ----------
        velocities : (rows, columns, 2) float32 each, in cells, as ``expression_fields`` gives them; the
            photograph follows the last one first.
        turned : (rows, columns, 2) float32: stage pixels from each of ``HEAD_CELLS`` to its place before
            the head was turned.
        mouth : how much light falls into it, 0 to 1; see :func:`mouth_light`

        Returns
        -------
        (480, 640, 3) uint8, BGR
        """
        # From the frame to the turned head's frontal position, and on to the photograph's expression.
        turn = sampled(turned, self._on_head)
        frontal = self._stage_map + turn
        source, on_face = frontal, self._on_face + turn * np.float32(1 / FACE_CELL_PX)
        for velocity in velocities:
            step = sampled(flow(velocity, FACE_HALVINGS) * np.float32(FACE_CELL_PX), on_face)
            source, on_face = source + step, on_face + step * np.float32(1 / FACE_CELL_PX)
        frame = _warped(self._skin, _resized(source, FRAME_SIZE))
        for region, openness in zip(self._regions, (1.0, mouth), strict=True):
            view = frame[region.rows, region.columns]
            view[:] = _with_beneath(view, _warped(self._beneath, region.fine(frontal)), openness)
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR), np.uint8)

    def _mouth_openness(self, lips_close: float, jaw_drop: float) -> float:
        """0 (lips together) to 1 (parted enough for the teeth to be lit)."""
        return mouth_light(self._lip_gap * max(1.0 - lips_close, 0.0) + 0.2 * max(jaw_drop, 0.0))


def mouth_light(lip_gap: float) -> float:
    """How much light falls between lips parted by so many eye distances: 0 none, 1 all."""
    return float(np.clip(lip_gap / 0.07, 0.0, 1.0))


def _with_beneath(view: Image, beneath: Image, openness: float) -> Image:
    """Eyeballs or teeth blended into a part of the frame where lids or lips leave them open.

    Nearly closed lips show a soft dark line: little light gets between them.
    """
    share = view[:, :, 3].astype(np.float32) * np.float32(min(0.4 + openness, 1.0) / 255)
    if openness < 1.0:
        beneath = np.asarray(cv2.convertScaleAbs(beneath, alpha=max(openness**2, 0.15)), np.uint8)
    return np.asarray(cv2.blendLinear(np.ascontiguousarray(view), beneath, 1 - share, share), np.uint8)


def _warped(layer: Image, at: Floats) -> Image:
    return np.asarray(
        cv2.remap(layer, at, NO_SECOND_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _resized(coarse: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.float32)


def blend(weights: Floats, fields: Floats) -> Floats:
    """Weighted sum of velocity fields; not by BLAS, whose threads would make the last bit vary."""
    return np.asarray(np.einsum("k,krcd->rcd", weights, fields), np.float32)


def _stage_map(framing: Framing) -> Floats:
    """(rows, columns, 2): the stage position each second pixel of the frame looks at."""
    width, height = FRAME_SIZE
    # cv2.resize puts cell centres between pixels; the half-cell keeps the upsampled map exact.
    x = (np.arange(width // _MAP_CELL_PX, dtype=np.float32) + 0.5) * _MAP_CELL_PX - 0.5
    y = (np.arange(height // _MAP_CELL_PX, dtype=np.float32) + 0.5) * _MAP_CELL_PX - 0.5
    if framing.mirrored:
        x = width - 1 - x
        offset_x = -framing.offset_x
    else:
        offset_x = framing.offset_x
    stage_x = (x - width / 2 - offset_x) / framing.scale + EYES_AT[0]
    stage_y = (y - height / 2 - framing.offset_y) / framing.scale + EYES_AT[1] + 0.35 * EYE_DISTANCE
    return np.stack(np.meshgrid(stage_x, stage_y), -1).astype(np.float32)


def _regions(stage: Stage, stage_map: Floats) -> tuple[_Region, _Region]:
    """Eyes and mouth in the frame, with room for turned heads and open mouths."""
    eyes, mouth = stage.landmarks[[33, 263, 159, 145], :2], stage.landmarks[[61, 291, 13, 14], :2]
    reach = 0.42 * EYE_DISTANCE
    return _region(stage_map, eyes, (reach, reach)), _region(
        stage_map, mouth, (reach, reach + 0.1 * EYE_DISTANCE)
    )


def _region(stage_map: Floats, points: Floats, reach: tuple[float, float]) -> _Region:
    low, high = points.min(0) - reach, points.max(0) + reach
    columns = np.flatnonzero((stage_map[0, :, 0] >= low[0]) & (stage_map[0, :, 0] <= high[0]))
    rows = np.flatnonzero((stage_map[:, 0, 1] >= low[1]) & (stage_map[:, 0, 1] <= high[1]))
    return _Region(
        slice(int(rows[0]) * _MAP_CELL_PX, (int(rows[-1]) + 1) * _MAP_CELL_PX),
        slice(int(columns[0]) * _MAP_CELL_PX, (int(columns[-1]) + 1) * _MAP_CELL_PX),
    )


def _colour_table(light: Light) -> Image:
    """(1, 256, 3) for cv2.LUT."""
    value = (np.arange(256) / 255.0) ** light.gamma * light.gain * 255.0
    table = np.clip(np.rint(value[:, None] * np.array(light.tint_bgr)), 0, 255)
    return np.asarray(table[None], np.uint8)
