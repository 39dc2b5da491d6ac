"""The network both sides build: a GRU over feature frames with a per-frame valence/arousal head.

Ten lines to try it::

    import torch
    from mien_common.architecture import Architecture
    from mien_common.network import build

    network = build(Architecture(), seed=0)
    features = torch.zeros(1, 250, 40)     # (batch, frames, channels): ten seconds at 25 Hz
    network(features).shape                # (1, 250, 2): valence and arousal per frame
"""

import torch
from torch import Tensor, nn

from mien_common.architecture import Architecture
from mien_common.schema import TARGETS


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

    def step(self, features: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """One frame of what :meth:`forward` does at once, for a stream that has no end.

        Parameters
        ----------
        features : (batch, channels)
        state : (layers, batch, hidden units) that the step before left; None before the first.

        Returns
        -------
        (batch, 2) in (−1, 1): valence, arousal; and the new state. ``state`` itself is not changed, so
        that a step can also be tried without going on from it.
        """
        hidden, after = self.recurrence(features.unsqueeze(1), state)
        return torch.tanh(self.head(hidden[:, 0])), after


def build(architecture: Architecture, seed: int) -> AffectNetwork:
    """A freshly initialised network; the same seed gives the same weights everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AffectNetwork(architecture)
