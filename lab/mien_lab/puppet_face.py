"""A photograph of one face, taken apart so that it can be moved: photo in, :class:`Stage` out.

The stage is the photograph levelled and scaled to a fixed eye distance, in two layers. ``skin`` is
what an expression stretches; ``beneath`` is what it uncovers: eyeballs that a lid slides over, and
teeth in front of a dark mouth that stay with the skull while the jaw drops. ``openings`` says how
much of the lower layer shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien_common.errors import InputError

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

STAGE_SIZE: Final = (960, 720)
"""Width and height; wider than a frame, so that framing can shift and shrink the face."""
EYE_DISTANCE: Final = 130.0
"""Pixels between the outer eye corners on the stage: the unit all facial lengths are given in."""
EYES_AT: Final = (480.0, 290.0)
"""Where the middle between the eyes lies on the stage."""

# MediaPipe's face mesh indices, image-left eye first; each contour starts at an outer corner.
EYE_CORNERS: Final = (33, 263)
UPPER_LIDS: Final = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (263, 466, 388, 387, 386, 385, 384, 398, 362),
)
LOWER_LIDS: Final = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
    (263, 249, 390, 373, 374, 380, 381, 382, 362),
)
UPPER_INNER_LIP: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)

_NOSE_TIP = 1
_SMALLEST_EYE_DISTANCE_PX = 24.0
_THINNEST_MOUTH = 0.02
"""Closed lips are parted by this much (of the eye distance), or there would be nothing to open."""
_LARGEST_TURN = 0.25
"""How far the nose may lie off the middle between the eyes, in eye distances: about 15 degrees."""
_MOUTH_BGR = (24.0, 20.0, 50.0)
_LARGEST_PHOTO_PIXELS = 100_000_000
_LARGEST_SIDE_PX = 2048


@dataclass(frozen=True, eq=False)
class Stage:
    """One face, ready to be moved. All coordinates are stage pixels, x to the right, y down."""

    skin: Image
    """(height, width, 3) BGR; eyes and mouth are painted over with the skin around them."""
    beneath: Image
    """(height, width, 3) BGR; eyeballs, teeth and mouth cavity, reaching beyond their openings."""
    openings: Image
    """(height, width); 255 where ``beneath`` shows."""
    landmarks: Floats
    """(478, 3); z grows away from the camera."""

    def lip_gap(self) -> float:
        """Height of the open mouth, in eye distances."""
        return float(self.landmarks[14, 1] - self.landmarks[13, 1]) / EYE_DISTANCE

    def corner_lift(self) -> float:
        """How far the lip corners lie above the middle of the mouth, in eye distances: a smile."""
        middle, corners = self.landmarks[[13, 14], 1].mean(), self.landmarks[[61, 291], 1].mean()
        return float(middle - corners) / EYE_DISTANCE


def read_photo(path: Path | None) -> Image:
    """A photograph as (height, width, 3) RGB, at most 2048 pixels long; scikit-image's public-domain
    portrait when ``path`` is None.

    Raises
    ------
    InputError
        The file is missing, is not a picture OpenCV can read, or is larger than 100 megapixels.
    """
    if path is None:
        import skimage.data

        # skimage.data loads its pictures lazily, which hides their types from a checker.
        portrait: Callable[[], Image] = skimage.data.astronaut
        return portrait()
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"cannot read the photo {path}: {error.strerror or error}.") from error
    try:
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error:  # OpenCV refuses pictures beyond its own size limits this way
        picture = None
    if picture is None or picture.shape[0] * picture.shape[1] > _LARGEST_PHOTO_PIXELS:
        raise InputError(
            f"{path} is not a photo that can be used. Give a JPEG or PNG of at most 100 megapixels."
        )
    shrink = _LARGEST_SIDE_PX / max(picture.shape[:2])
    if shrink < 1.0:
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def build_stage(photo: Image, landmarks: NDArray[np.floating]) -> Stage:
    """Level and scale ``photo`` and split it into layers.

    Parameters
    ----------
    photo : (height, width, 3) uint8, RGB
    landmarks : (478, 3) float, pixels of ``photo`` (z in the same unit)

    Raises
    ------
    InputError
        The face is too small, or turned too far aside, to be animated.
    """
    right, left = landmarks[EYE_CORNERS[0], :2], landmarks[EYE_CORNERS[1], :2]
    axis = left - right
    distance = float(np.hypot(*axis))
    if distance < _SMALLEST_EYE_DISTANCE_PX:
        raise InputError(
            f"the face in the photo is too small: {distance:.0f} pixels between the outer eye corners, at "
            f"least {_SMALLEST_EYE_DISTANCE_PX:.0f} are needed. Crop it nearer, or use a larger photo."
        )
    turn = abs(float((landmarks[_NOSE_TIP, :2] - (right + left) / 2) @ axis)) / distance**2
    if turn > _LARGEST_TURN:
        raise InputError("the face in the photo is turned too far aside. Use a photo taken from the front.")
    scale = EYE_DISTANCE / distance
    rotation = np.array([[axis[0], axis[1]], [-axis[1], axis[0]]]) / distance * scale
    shift = np.array(EYES_AT) - rotation @ ((right + left) / 2)
    picture = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    shrink = min(1.0, 2.0 * scale)
    if shrink < 1.0:  # averaged first: sampling alone would alias a large photo
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    picture = cv2.warpAffine(
        picture,
        np.column_stack([rotation / shrink, shift]),
        STAGE_SIZE,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    placed = np.empty((len(landmarks), 3), np.float32)
    placed[:, :2] = landmarks[:, :2] @ rotation.T + shift
    placed[:, 2] = landmarks[:, 2] * scale
    return _layered(np.asarray(picture, np.uint8), placed)


def curve(landmarks: Floats, indices: Sequence[int], columns: Floats) -> Floats:
    """Height (y) of the line through landmarks at the given x; flat beyond its ends."""
    points = landmarks[list(indices), :2]
    order = np.argsort(points[:, 0])
    return np.asarray(np.interp(columns, points[order, 0], points[order, 1]), np.float32)


def _layered(picture: Image, landmarks: Floats) -> Stage:
    eyes = [
        np.concatenate([landmarks[list(upper), :2], landmarks[list(lower)[-2:0:-1], :2]])
        for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True)
    ]
    upper_lip, lower_lip = landmarks[list(UPPER_INNER_LIP), :2], landmarks[list(LOWER_INNER_LIP), :2]
    teeth = np.concatenate([upper_lip, lower_lip[-2:0:-1]])
    lack = np.maximum(_THINNEST_MOUTH * EYE_DISTANCE - (lower_lip - upper_lip)[:, 1], 0.0) / 2
    lack[[0, -1]] = 0.0
    mouth = np.concatenate([upper_lip - _down(lack), (lower_lip + _down(lack))[-2:0:-1]])

    eye_mask, mouth_mask = _filled(eyes), _filled([mouth])
    openings = np.maximum(eye_mask, mouth_mask)
    skin = _extended(picture, _grown(openings, 3) == 0)
    beneath = _extended(picture, _grown(eye_mask, -3) > 127)
    near_mouth = _grown(mouth_mask, 61) > 0
    beneath[near_mouth] = _mouth_inside(picture, _filled([teeth]), landmarks)[near_mouth]
    softened = np.asarray(cv2.GaussianBlur(openings, (0, 0), 0.8), np.uint8)
    return Stage(skin=skin, beneath=beneath, openings=softened, landmarks=landmarks)


def _mouth_inside(picture: Image, teeth_mask: Image, landmarks: Floats) -> Image:
    """Teeth where the photo shows them, reaching up under the lip, and darkness below and beside them."""
    dark = np.empty(picture.shape, np.float32)
    dark[:] = _MOUTH_BGR
    inside = _grown(teeth_mask, -3) > 127
    if inside.sum() < 0.004 * EYE_DISTANCE**2:  # the lips are closed: there are no teeth to show
        return np.asarray(dark, np.uint8)
    height, width = teeth_mask.shape
    columns = np.arange(width, dtype=np.float32)
    lower_edge = curve(landmarks, LOWER_INNER_LIP, columns)
    above = np.clip((lower_edge - 1.5 - np.arange(height, dtype=np.float32)[:, None]) / 4.0, 0.0, 1.0)
    left, right = landmarks[78, 0], landmarks[308, 0]
    between = np.clip(np.minimum(columns - left, right - columns) / (0.08 * EYE_DISTANCE) + 0.35, 0.0, 1.0)
    share = (above * between)[:, :, None]
    teeth = _extended(picture, inside).astype(np.float32)
    return np.asarray(teeth * share + dark * (1.0 - share), np.uint8)


def _down(lengths: Floats) -> Floats:
    return np.column_stack([np.zeros_like(lengths), lengths])


def _filled(polygons: Sequence[NDArray[np.floating]]) -> Image:
    """Polygons as a mask with smooth edges."""
    fine = np.zeros((STAGE_SIZE[1] * 4, STAGE_SIZE[0] * 4), np.uint8)
    cv2.fillPoly(fine, [np.rint(polygon * 4).astype(np.int32) for polygon in polygons], (255,))
    return np.asarray(cv2.resize(fine, STAGE_SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def _grown(mask: Image, by_px: int) -> Image:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(by_px) + 1,) * 2)
    return np.asarray((cv2.dilate if by_px > 0 else cv2.erode)(mask, kernel), np.uint8)


def _extended(picture: Image, known: NDArray[np.bool_]) -> Image:
    """``picture`` with every unknown pixel painted in the colour of the nearest known one, softly."""
    from scipy.ndimage import distance_transform_edt

    if not known.any():
        return picture.copy()
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    painted = picture[nearest[0], nearest[1]]
    blurred = cv2.GaussianBlur(painted, (0, 0), 2.0)
    return np.asarray(np.where(known[:, :, None], picture, blurred), np.uint8)
