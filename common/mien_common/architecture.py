"""What a network is built from; :mod:`mien_common.network` builds it.

Apart from the network so that commands which only read or write settings need not load PyTorch.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mien_common.schema import AU_V1


class Architecture(BaseModel):
    """What a model card needs to say so that another machine builds the same network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gru"] = "gru"
    channels: int = Field(default=len(AU_V1.channels), ge=1, le=4096)
    hidden_units: int = Field(default=64, ge=1, le=4096)
    layers: int = Field(default=2, ge=1, le=16)
