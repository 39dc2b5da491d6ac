"""What each AU-like channel is: which heights and widths of the face, with which weights, and why.

Nothing enters or leaves: this is the table that :mod:`mien_client.face.action_units` measures by.

Each unit follows what its action unit does to the face (Ekman & Friesen, *Facial Action Coding System*,
1978; Ekman, Friesen & Hager, 2002). The landmarker moves its mesh as a whole: it lowers the brows of
narrowed eyes, lifts the nose of a smile, and shifts an eye's corner with its lid. So each definition also
takes off what neighbouring actions do to it. The weights are those that move least with nods and whatever
else seven people do on film, among those that separate the units on a puppeteered photograph at every turn
and size of the directed test (``docs/features.md``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class UnitDefinition:
    """One action unit as a weighted sum of ``MEASURES``."""

    why: str
    weights: Mapping[str, float]
    rest: float
    """The sum on an average resting face, in eye distances: the median of seven people's lower third."""
    full: float
    """The sum at intensity 5."""


# Heights above the eyes' middle (y), half-widths (x) and a depth towards the camera (z), in distances
# between the outer eye corners; MediaPipe's mesh indices, image-left side first.
MEASURES: Final[Mapping[str, tuple[str, tuple[int, ...]]]] = {
    "inner_brow": ("y", (55, 285, 107, 336)),
    "mid_brow": ("y", (105, 334, 52, 282)),
    "outer_brow": ("y", (70, 300, 63, 293)),
    "brow_gap": ("x", (55, 285)),
    "glabella": ("y", (9,)),
    "bridge": ("y", (6,)),
    "inner_corner": ("y", (133, 362)),
    "outer_corner": ("y", (33, 263)),
    "upper_lid": ("y", (159, 386, 158, 385)),
    "upper_lid_outside": ("y", (246, 466, 161, 388)),
    "lower_lid": ("y", (145, 374, 153, 380)),
    "nose_ridge": ("y", (197,)),
    "nose_tip": ("y", (1,)),
    "nose_depth": ("z", (1,)),
    "nose_base": ("y", (2,)),
    "nose_wing": ("y", (129, 358)),
    "nostril": ("y", (98, 327)),
    "cheek": ("y", (50, 280)),
    "cheek_width": ("x", (50, 280)),
    "upper_lip": ("y", (0,)),
    "upper_lip_bow": ("y", (37, 267)),
    "inner_upper_lip": ("y", (13,)),
    "inner_lower_lip": ("y", (14,)),
    "lower_lip": ("y", (17,)),
    "lower_lip_side": ("y", (91, 321)),
    "lip_corner": ("y", (61, 291)),
    "mouth_width": ("x", (61, 291)),
    "beside_mouth": ("y", (57, 287)),
    "beside_mouth_width": ("x", (57, 287)),
    "lower_corner_width": ("x", (77, 307)),
    "chin_boss": ("y", (199,)),
    "chin": ("y", (152,)),
}
"""Axis and landmarks of each measure."""

UNIT_DEFINITIONS: Final[Mapping[str, UnitDefinition]] = {
    "AU01_r": UnitDefinition(
        "The inner ends of the brows rise above the outer ones (frontalis, its middle part).",
        {
            "inner_brow": 0.58,
            "outer_brow": -1,
            "lower_lid": -0.48,
            "inner_corner": 0.63,
            "upper_lid": -0.08,
            "brow_gap": 0.02,
        },
        rest=-0.1938,
        full=-0.1533,
    ),
    "AU02_r": UnitDefinition(
        "The brows rise above the eyes' corners, where they arch (frontalis, its sides).",
        {"mid_brow": 0.47, "outer_brow": 0.66, "lower_lid": -0.77, "upper_lid": 0.76, "inner_corner": -1},
        rest=0.3424,
        full=0.4596,
    ),
    "AU04_r": UnitDefinition(
        "The brows sink and draw together above the eyes' corners and the nose's bridge (corrugator).",
        {
            "inner_brow": -0.1,
            "mid_brow": -0.46,
            "outer_brow": 0.4,
            "brow_gap": -0.38,
            "glabella": 0.26,
            "upper_lid": 0.04,
            "lower_lid": -0.19,
            "inner_corner": 1,
            "outer_corner": 0.32,
            "bridge": 0.41,
            "nose_wing": -0.05,
            "nose_tip": -0.1,
            "upper_lid_outside": 0.12,
            "nose_ridge": 0.73,
        },
        rest=0.6507,
        full=0.6609,
    ),
    "AU05_r": UnitDefinition(
        "The upper lid rises above the nose's ridge, its middle above its outer part (levator palpebrae).",
        {
            "inner_brow": 0.17,
            "mid_brow": -0.11,
            "outer_brow": 0.08,
            "brow_gap": -0.19,
            "glabella": -0.23,
            "upper_lid": 0.54,
            "upper_lid_outside": -0.83,
            "lower_lid": 0.02,
            "inner_corner": -0.63,
            "outer_corner": -0.17,
            "bridge": -0.5,
            "nose_depth": -0.11,
            "nose_ridge": -1,
            "nose_wing": 0.34,
            "cheek": -0.18,
        },
        rest=-0.8565,
        full=-0.8443,
    ),
    "AU06_r": UnitDefinition(
        "The lower lid and the skin around the eye rise towards it, the cheek with them (orbicularis oculi).",
        {
            "inner_brow": -0.12,
            "mid_brow": 0.38,
            "outer_brow": -0.38,
            "brow_gap": 0.56,
            "glabella": -0.02,
            "upper_lid": -0.22,
            "upper_lid_outside": 0.68,
            "lower_lid": 0.15,
            "inner_corner": 0.88,
            "outer_corner": -0.19,
            "bridge": 1,
            "cheek": 0.04,
            "nose_tip": -0.08,
            "nose_depth": 0.06,
            "nose_wing": -0.03,
            "cheek_width": 0.19,
        },
        rest=0.8498,
        full=0.8646,
    ),
    "AU07_r": UnitDefinition(
        "The lower lid rises and the upper one sinks: the eye narrows (orbicularis oculi).",
        {
            "lower_lid": 0.9,
            "upper_lid": -0.74,
            "upper_lid_outside": 1,
            "inner_corner": 0.02,
            "outer_corner": -0.72,
            "bridge": 0.26,
        },
        rest=0.1622,
        full=0.1797,
    ),
    "AU09_r": UnitDefinition(
        "The nose's wings and holes rise between still cheeks (levator labii superioris alaeque nasi).",
        {
            "inner_brow": -0.21,
            "brow_gap": 0.4,
            "inner_corner": -1,
            "lower_lid": -0.4,
            "upper_lid": -0.47,
            "upper_lid_outside": 0.95,
            "nose_base": 0.05,
            "nose_wing": 0.3,
            "nostril": 0.66,
            "nose_tip": -0.03,
            "nose_depth": -0.26,
            "cheek": -0.44,
            "upper_lip": -0.21,
            "cheek_width": -0.46,
            "bridge": -0.64,
        },
        rest=-1.0221,
        full=-0.9950,
    ),
    "AU10_r": UnitDefinition(
        "The upper lip rises towards nose and cheeks, which do not widen (levator labii superioris).",
        {
            "upper_lip": 0.28,
            "inner_upper_lip": 0.8,
            "inner_lower_lip": 0.38,
            "lower_lip_side": -0.38,
            "lip_corner": -0.58,
            "nose_base": -0.29,
            "nose_wing": -0.63,
            "cheek": -0.32,
            "chin_boss": -0.25,
            "nose_depth": -0.16,
            "cheek_width": -0.65,
            "beside_mouth": 1,
        },
        rest=-0.7841,
        full=-0.7077,
    ),
    "AU12_r": UnitDefinition(
        "The lip corners rise above the nose's base, and the mouth widens (zygomaticus major).",
        {"lip_corner": 1, "mouth_width": 0.28, "nose_base": -0.89, "beside_mouth": -0.49, "upper_lip": 0.27},
        rest=-0.0763,
        full=0.0055,
    ),
    "AU14_r": UnitDefinition(
        "The skin beside and under the lip corners moves out, the corners hardly (buccinator).",
        {
            "mouth_width": 0.14,
            "beside_mouth_width": 0.28,
            "lip_corner": -0.35,
            "inner_upper_lip": 0.11,
            "inner_lower_lip": 0.25,
            "lower_corner_width": 1,
            "nose_depth": 0.13,
        },
        rest=0.4887,
        full=0.5439,
    ),
    "AU15_r": UnitDefinition(
        "The lip corners sink below the nose's wings and the lips' middle (triangularis).",
        {
            "lip_corner": -1,
            "lower_lip": 0.25,
            "inner_upper_lip": 0.64,
            "inner_lower_lip": 0.14,
            "chin": 0.05,
            "nose_base": 0.51,
            "nose_wing": -0.9,
            "mouth_width": 0.09,
        },
        rest=-0.0667,
        full=0.0308,
    ),
    "AU17_r": UnitDefinition(
        "Chin boss and lower lip are pushed up between the lip corners (mentalis).",
        {
            "inner_upper_lip": 0.26,
            "inner_lower_lip": 0.38,
            "lower_lip": 0.14,
            "beside_mouth": -0.67,
            "lip_corner": -0.68,
            "chin_boss": 0.46,
            "chin": 0.08,
            "cheek": 0.41,
            "nose_depth": 1,
            "nose_tip": -0.97,
            "mouth_width": -0.25,
            "lower_lip_side": 0.11,
            "nose_base": -0.06,
            "nose_wing": -0.17,
            "upper_lip_bow": 0.7,
        },
        rest=0.3568,
        full=0.4775,
    ),
    "AU20_r": UnitDefinition(
        "The mouth widens without its corners rising; lips flatten (risorius).",
        {
            "mouth_width": 1,
            "beside_mouth_width": -0.1,
            "inner_upper_lip": 0.21,
            "inner_lower_lip": 0.2,
            "upper_lip_bow": -0.72,
            "lower_lip_side": -0.44,
            "chin_boss": 0.24,
            "chin": 0.19,
            "nose_depth": 0.44,
            "lip_corner": 0.08,
            "lower_lip": -0.17,
        },
        rest=0.6004,
        full=0.7213,
    ),
    "AU23_r": UnitDefinition(
        "The mouth and the red of the lips narrow, upper edge down and lower edge up (orbicularis oris).",
        {
            "mouth_width": -1,
            "upper_lip_bow": -0.39,
            "lower_lip_side": -0.05,
            "lower_lip": 0.37,
            "upper_lip": -0.02,
            "inner_upper_lip": -0.13,
            "inner_lower_lip": -0.6,
            "lip_corner": 0.56,
        },
        rest=-0.2577,
        full=-0.1846,
    ),
    "AU25_r": UnitDefinition(
        "The lower lip's inner edge moves away from upper lip and corners (depressor labii).",
        {
            "inner_lower_lip": -1,
            "upper_lip": 0.41,
            "lip_corner": 0.38,
            "nose_base": -0.04,
            "lower_lip": -0.08,
            "lower_lip_side": 0.02,
            "chin": 0.24,
            "chin_boss": -0.15,
        },
        rest=0.0655,
        full=0.1780,
    ),
    "AU26_r": UnitDefinition(
        "Lower lip and chin boss fall away from the nose (masseter relaxed).",
        {"chin": 0.32, "inner_lower_lip": -0.75, "nose_base": 0.47, "chin_boss": -1, "lower_lip": 0.57},
        rest=0.4786,
        full=0.6989,
    ),
    "AU45_r": UnitDefinition(
        "The upper lid comes down on the lower one (levator palpebrae relaxed).",
        {"upper_lid": -0.17, "lower_lid": 0.38, "inner_corner": -0.07, "upper_lid_outside": -1},
        rest=-0.2980,
        full=-0.2250,
    ),
}
