"""What each AU-like channel is: which heights and widths of the face, with which weights, and why.

Nothing enters or leaves: this is the table that :mod:`mien_client.action_units` measures by.

Each unit follows what its action unit does to the face (Ekman & Friesen, *Facial Action Coding System*,
1978; Ekman, Friesen & Hager, 2002). The landmarker moves its mesh as a whole: it lowers the brows of
narrowed eyes, lifts the nose of a smile, and shifts an eye's corner with its lid. So each definition also
takes off what neighbouring actions do to it. The weights are those that move least with whatever else
seven people do on film, among those that separate the units on a puppeteered photograph at every turn and
size of the directed test (``docs/features.md``).
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
            "inner_brow": 1,
            "outer_brow": -0.92,
            "lower_lid": -0.56,
            "inner_corner": -0.03,
            "upper_lid": -0.02,
            "brow_gap": -0.68,
        },
        rest=-0.2374,
        full=-0.1814,
    ),
    "AU02_r": UnitDefinition(
        "The brows rise above the eyes' corners, where they arch (frontalis, its sides).",
        {"mid_brow": 0.54, "outer_brow": 0.03, "lower_lid": 0.23, "upper_lid": 0.09, "inner_corner": -1},
        rest=0.1065,
        full=0.1648,
    ),
    "AU04_r": UnitDefinition(
        "Brows sink and draw together above the eye's corners and the nose's bridge (corrugator, procerus).",
        {
            "inner_brow": -0.16,
            "mid_brow": -0.41,
            "outer_brow": 0.39,
            "brow_gap": -0.35,
            "glabella": 0.22,
            "upper_lid": 0.09,
            "lower_lid": -0.28,
            "inner_corner": 0.99,
            "outer_corner": 0.51,
            "bridge": 1,
            "nose_tip": -0.02,
        },
        rest=0.6372,
        full=0.6483,
    ),
    "AU05_r": UnitDefinition(
        "The middle of the upper lid rises above its outer part, while the brow does not press on it.",
        {
            "inner_brow": 0.29,
            "mid_brow": 0.69,
            "outer_brow": -0.62,
            "brow_gap": 0.15,
            "glabella": -0.61,
            "upper_lid": 1,
            "upper_lid_outside": -0.96,
            "lower_lid": 0.12,
            "inner_corner": -0.13,
            "outer_corner": -0.29,
            "bridge": -0.55,
            "nose_depth": -0.06,
            "nose_tip": -0.1,
        },
        rest=-0.3590,
        full=-0.3398,
    ),
    "AU06_r": UnitDefinition(
        "Lower lid and cheek rise and spread towards the eye's corners (orbicularis oculi, its outer part).",
        {
            "inner_brow": 0.08,
            "mid_brow": 0.52,
            "outer_brow": -0.3,
            "brow_gap": 0.58,
            "glabella": -0.48,
            "upper_lid": -0.19,
            "upper_lid_outside": 1,
            "lower_lid": 0.49,
            "inner_corner": 0.84,
            "outer_corner": -0.82,
            "bridge": 0.49,
            "cheek": 0.15,
            "nose_tip": -0.16,
            "cheek_width": 0.33,
        },
        rest=0.6956,
        full=0.7208,
    ),
    "AU07_r": UnitDefinition(
        "The lower lid rises and the upper one sinks: the eye narrows (orbicularis oculi, its inner part).",
        {
            "lower_lid": 0.86,
            "upper_lid": -0.73,
            "upper_lid_outside": 1,
            "inner_corner": -0.03,
            "outer_corner": -0.7,
            "inner_brow": -0.02,
            "bridge": 0.2,
        },
        rest=0.1244,
        full=0.1411,
    ),
    "AU09_r": UnitDefinition(
        "Wings and holes of the nose rise between still cheeks, inner brows and lids sink towards them.",
        {
            "inner_brow": -0.16,
            "brow_gap": 0.3,
            "inner_corner": -0.68,
            "lower_lid": -0.36,
            "upper_lid": -0.59,
            "upper_lid_outside": 1,
            "nose_base": 0.06,
            "nose_wing": 0.34,
            "nostril": 0.29,
            "nose_tip": -0.12,
            "nose_depth": -0.17,
            "cheek": -0.28,
            "upper_lip": -0.14,
            "cheek_width": -0.22,
            "bridge": -0.69,
        },
        rest=-0.6925,
        full=-0.6751,
    ),
    "AU10_r": UnitDefinition(
        "The upper lip rises towards the wings of the nose, while the cheeks do not widen.",
        {
            "upper_lip": 0.19,
            "inner_upper_lip": 0.87,
            "inner_lower_lip": 0.61,
            "lower_lip_side": -0.63,
            "lip_corner": 0.05,
            "mouth_width": -0.46,
            "nose_base": -0.47,
            "nose_wing": -1,
            "cheek": 0.46,
            "chin": -0.4,
            "nose_depth": 0.09,
            "cheek_width": -0.61,
            "upper_lip_bow": 0.17,
            "beside_mouth": 0.31,
        },
        rest=-0.4688,
        full=-0.3813,
    ),
    "AU12_r": UnitDefinition(
        "The lip corners rise above the nose's base, and the mouth widens (zygomaticus major).",
        {"lip_corner": 1, "mouth_width": 0.18, "nose_base": -0.79, "beside_mouth": -0.31, "upper_lip": 0.08},
        rest=-0.1331,
        full=-0.0515,
    ),
    "AU14_r": UnitDefinition(
        "The skin beside and under the lip corners moves out further than the corners themselves.",
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
        "The lip corners sink below the lips' middle (triangularis).",
        {
            "lip_corner": -1,
            "lower_lip": 0.1,
            "inner_upper_lip": 0.24,
            "inner_lower_lip": 0.22,
            "chin": 0.21,
            "nose_base": 0.41,
            "nose_wing": -0.44,
            "mouth_width": 0.08,
        },
        rest=-0.0370,
        full=0.0640,
    ),
    "AU17_r": UnitDefinition(
        "Chin boss and lower lip are pushed up between the lip corners (mentalis).",
        {
            "inner_upper_lip": -0.06,
            "inner_lower_lip": 0.41,
            "lower_lip": 0.26,
            "beside_mouth": -0.84,
            "lip_corner": -0.61,
            "chin_boss": 0.46,
            "chin": 0.02,
            "cheek": -0.52,
            "nose_depth": 0.51,
            "nose_tip": -0.66,
            "mouth_width": -0.05,
            "lower_lip_side": 0.29,
            "nose_base": 0.1,
            "nose_wing": -0.62,
            "upper_lip_bow": 1,
        },
        rest=0.0143,
        full=0.1412,
    ),
    "AU20_r": UnitDefinition(
        "The mouth widens without its corners rising; lips flatten (risorius).",
        {
            "mouth_width": 1,
            "beside_mouth_width": 0.72,
            "inner_upper_lip": 0.23,
            "inner_lower_lip": -0.23,
            "upper_lip_bow": -0.59,
            "lower_lip_side": -0.32,
            "chin_boss": 0.35,
            "chin": 0.36,
            "nose_depth": 0.77,
            "lip_corner": -0.21,
            "lower_lip": 0.03,
        },
        rest=1.0398,
        full=1.2212,
    ),
    "AU23_r": UnitDefinition(
        "The red of the lips narrows, upper edge down and lower edge up, and so does the mouth.",
        {
            "mouth_width": -1,
            "upper_lip_bow": -0.25,
            "lower_lip_side": 0.56,
            "lower_lip": 0.5,
            "upper_lip": 0.08,
            "inner_upper_lip": -0.56,
            "inner_lower_lip": -0.97,
            "lip_corner": 0.4,
        },
        rest=-0.2873,
        full=-0.1887,
    ),
    "AU25_r": UnitDefinition(
        "The lower lip's inner edge moves away from upper lip and corners.",
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
        {"chin": 0.04, "inner_lower_lip": -1, "nose_base": 0.83, "chin_boss": -0.3, "lower_lip": 0.37},
        rest=0.3358,
        full=0.5975,
    ),
    "AU45_r": UnitDefinition(
        "The upper lid comes down on the lower one.",
        {"upper_lid": -1, "lower_lid": 0.41, "inner_corner": -0.13, "upper_lid_outside": -0.08},
        rest=-0.2955,
        full=-0.1937,
    ),
}
