"""The networks both sides build: a recurrence over feature frames with a valence/arousal head.

Ten lines to try it::

    import torch
    from mien_common.architecture import Architecture
    from mien_common.network import build

    network = build(Architecture(), seed=0)
    features = torch.zeros(1, 250, 40)     # (batch, frames, channels): ten seconds at 25 Hz
    network(features).shape                # (1, 250, 2): valence and arousal per frame
"""

from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien_common.architecture import Architecture
from mien_common.errors import ModelError
from mien_common.schema import TARGETS

State = tuple[Tensor, ...]
"""What a stream carries from frame to frame: the recurrence's states, then each convolution's last inputs."""

HEAD: Final = "head."
"""The head's arrays begin with this."""

_RECURRENCES: Final = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_KERNEL: Final = 3
_BLOCKS: Final = 2
_CARRIED: Final = _KERNEL - 1


class ChannelNorm(nn.Module):
    """A learnt scale and shift per channel; the statistics before it are the site's scaler."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(…, channels) to the same shape."""
        return features * self.weight + self.bias


class ResidualBlock(nn.Module):
    """Pre-activation residual block (He et al., 2016) with layer normalisation (Ba et al., 2016).

    Norm → ReLU → convolution over time, twice, added to the input. The order and the kernel of 3 are those
    of Mase et al.'s public script (2021), whose convolutions run over channels × time with a single feature
    map; here they run over time, from all channels to all. A causal block sees no later frame.
    """

    def __init__(self, channels: int, *, causal: bool) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(channels)
        self.convolution_1 = nn.Conv1d(channels, channels, _KERNEL)
        self.norm_2 = nn.LayerNorm(channels)
        self.convolution_2 = nn.Conv1d(channels, channels, _KERNEL)
        self._padding = (_CARRIED, 0) if causal else (_CARRIED // 2, _CARRIED - _CARRIED // 2)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, channels) to the same shape."""
        first = self._convolved(self.convolution_1, functional.relu(self.norm_1(features)))
        second = self._convolved(self.convolution_2, functional.relu(self.norm_2(first)))
        return features + second

    def step(
        self, features: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One frame of a causal block.

        Parameters
        ----------
        features : (batch, 1, channels)
        before : what the two convolutions saw last, each (batch, 2, channels); None before the first frame.

        Returns
        -------
        (batch, 1, channels), and what the convolutions have seen last now.
        """
        if before is None:  # as forward pads
            nothing = features.new_zeros(len(features), _CARRIED, features.shape[-1])
            before = (nothing, nothing)
        first_input = torch.cat([before[0], functional.relu(self.norm_1(features))], dim=1)
        first = self.convolution_1(first_input.mT).mT
        second_input = torch.cat([before[1], functional.relu(self.norm_2(first))], dim=1)
        second = self.convolution_2(second_input.mT).mT
        return features + second, (first_input[:, 1:], second_input[:, 1:])

    def _convolved(self, convolution: nn.Module, features: Tensor) -> Tensor:
        convolved: Tensor = convolution(functional.pad(features.mT, self._padding))
        return convolved.mT


class AffectNetwork(nn.Module):
    """RNN (Elman, 1990), LSTM (Hochreiter & Schmidhuber, 1997) or GRU (Cho et al., 2014).

    As PyTorch computes them: the LSTM has forget gates (Gers et al., 2000), and the GRU's reset gate acts on
    the product with the state, not on the state before it. Both directions: Schuster & Paliwal (1997).
    Before the recurrence, where the architecture says so, channel normalisation and residual blocks; after
    it a linear head squashed to the ratings' range by tanh.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = architecture.channels
        self.architecture = architecture
        self.input_norm = ChannelNorm(channels) if architecture.input_norm else nn.Identity()
        causal = not architecture.bidirectional
        blocks = _BLOCKS if architecture.residual else 0
        self.blocks = nn.ModuleList(ResidualBlock(channels, causal=causal) for _ in range(blocks))
        self.recurrence = _RECURRENCES[architecture.kind](
            channels,
            architecture.hidden_units,
            architecture.layers,
            batch_first=True,
            bidirectional=architecture.bidirectional,
        )
        directions = 2 if architecture.bidirectional else 1
        self.head = nn.Linear(directions * architecture.hidden_units, len(TARGETS))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, channels) to (batch, frames, 2) in (−1, 1): valence, arousal.

        Where the architecture predicts windows, to (batch, 2): from where the recurrence ends, which for
        the backward direction is the first frame.
        """
        hidden, _ = self.recurrence(self.before_recurrence(features))
        return self.after_recurrence(hidden)

    def before_recurrence(self, features: Tensor) -> Tensor:
        """(batch, frames, channels) as the recurrence is given them."""
        features = self.input_norm(features)
        for block in self.blocks:
            features = block(features)
        return features

    def after_recurrence(self, hidden: Tensor) -> Tensor:
        """The prediction from (batch, frames, directions × hidden units)."""
        if self.architecture.predicts == "window":
            units = self.architecture.hidden_units
            hidden = torch.cat([hidden[:, -1, :units], hidden[:, 0, units:]], dim=-1)
        return torch.tanh(self.head(hidden))

    def step(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """One frame of what :meth:`forward` does at once, for a stream that has no end.

        Parameters
        ----------
        features : (batch, channels)
        state : what the step before left; None before the first.

        Returns
        -------
        (batch, 2) in (−1, 1): valence, arousal; and the new state. ``state`` itself is not changed, so
        that a step can also be tried without going on from it.

        Raises
        ------
        ModelError
            The architecture needs the whole recording.
        """
        if not self.architecture.streams:
            raise ModelError(
                f"this model ({self.architecture.in_words}) needs a whole recording, so it cannot follow a "
                "live one. Use a unidirectional model that predicts frames."
            )
        recurrent = 2 if self.architecture.kind == "lstm" else 1
        frame = self.input_norm(features).unsqueeze(1)
        seen: list[Tensor] = []
        for index, block in enumerate(cast("list[ResidualBlock]", list(self.blocks))):
            first = recurrent + 2 * index
            frame, after = block.step(frame, None if state is None else (state[first], state[first + 1]))
            seen.extend(after)
        given = None if state is None else (state[:2] if recurrent == 2 else state[0])
        hidden, left = self.recurrence(frame, given)
        carried = tuple(left) if recurrent == 2 else (left,)
        return self.after_recurrence(hidden)[:, 0], (*carried, *seen)


def build(architecture: Architecture, seed: int) -> AffectNetwork:
    """A freshly initialised network; the same seed gives the same weights everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AffectNetwork(architecture)


def normalisation_arrays(architecture: Architecture) -> frozenset[str]:
    """Names of the arrays that belong to normalisation layers."""
    with torch.device("meta"):
        network = AffectNetwork(architecture)
    return frozenset(
        f"{prefix}.{name}"
        for prefix, module in network.named_modules()
        if isinstance(module, ChannelNorm | nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    )
