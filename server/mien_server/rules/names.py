"""What the rules are called, on the command line and in files."""

from typing import Literal

RuleName = Literal[
    "fedavg",
    "fedprox",
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedadagrad",
    "scaffold",
    "median",
    "trimmed-mean",
    "krum",
    "multi-krum",
    "bulyan",
]

Weighting = Literal["frames", "sites"]
"""What a site's update counts for in a mean: its frames, or as much as any other's."""
