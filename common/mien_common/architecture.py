"""What a network is built from; :mod:`mien_common.network` builds it.

Apart from the network so that commands which only read or write settings need not load PyTorch.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mien_common.schema import AU_V1


class Architecture(BaseModel):
    """What a model card needs to say so that another machine builds the same network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["rnn", "lstm", "gru"] = "gru"
    channels: int = Field(default=len(AU_V1.channels), ge=1, le=4096)
    hidden_units: int = Field(default=64, ge=1, le=4096)
    """Per direction."""
    layers: int = Field(default=2, ge=1, le=16)
    bidirectional: bool = False
    """Reads each recording in both directions: needs the whole of it, so never live."""
    residual: bool = False
    """Two convolution blocks with skip connections before the recurrence (Mase et al., 2021)."""
    input_norm: bool = False
    """A learnt scale and shift per channel, after the site's own standardisation: together a batch
    normalisation whose statistics never leave the site (what FedBN keeps local)."""
    predicts: Literal["frames", "window"] = "frames"
    """A pair per frame, or one pair per window: its mean valence and arousal (Mase et al., 2021)."""

    @property
    def streams(self) -> bool:
        """Whether the network can go on frame by frame without an end."""
        return not self.bidirectional and self.predicts == "frames"

    @property
    def in_words(self) -> str:
        """For messages, as in "bidirectional LSTM, 2 layers of 64 units"."""
        names = ["bidirectional"] * self.bidirectional + ["residual"] * self.residual + [self.kind.upper()]
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        window = ", one pair per window" if self.predicts == "window" else ""
        return f"{' '.join(names)}, {layers} of {self.hidden_units} units{window}"
