"""The network both sides build: a GRU over feature frames with a per-frame valence/arousal head.

Ten lines to try it::

    import torch
    from mien_common.architecture import Architecture, build

    network = build(Architecture(), seed=0)
    features = torch.zeros(1, 250, 40)     # (batch, frames, channels): ten seconds at 25 Hz
    network(features).shape                # (1, 250, 2): valence and arousal per frame
"""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mien_common.schema import AU_V1, TARGETS


class Architecture(BaseModel):
    """What a model card needs to say so that another machine builds the same network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gru"] = "gru"
    channels: int = Field(default=len(AU_V1.channels), ge=1, le=4096)
    hidden_units: int = Field(default=64, ge=1, le=4096)
    layers: int = Field(default=2, ge=1, le=16)


class AffectNetwork(nn.Module):
    """GRU (Cho et al., 2014) with a linear head squashed to the ratings' range by tanh."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.recurrence = nn.GRU(
            architecture.channels, architecture.hidden_units, architecture.layers, batch_first=True
        )
        self.head = nn.Linear(architecture.hidden_units, len(TARGETS))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, channels) to (batch, frames, 2) in (−1, 1): valence, arousal."""
        hidden, _ = self.recurrence(features)
        return torch.tanh(self.head(hidden))


def build(architecture: Architecture, seed: int) -> AffectNetwork:
    """A freshly initialised network; the same seed gives the same weights everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AffectNetwork(architecture)
