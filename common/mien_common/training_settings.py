"""How a site trains: part of a run's settings, and of every order to a site.

Apart from :mod:`mien_common.messages` so that commands which only read settings need not load Flower.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Finite = Annotated[float, Field(allow_inf_nan=False)]


class TrainingSettings(BaseModel):
    """How each site trains in a round; the same at every site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    local_epochs: int = Field(default=2, ge=1, le=1000)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    window_s: float = Field(default=10.0, gt=0, le=3600)
    """Length of a training window, seconds."""
    batch_windows: int = Field(default=8, ge=1, le=65536)
    clip_gradient_norm: Finite = Field(default=1.0, gt=0)
    mse_share: float = Field(default=0.0, ge=0, le=1)
    """Loss: (1 − share) · (1 − CCC) + share · mean squared error."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: Finite = Field(default=0.0, ge=0, le=1)
    momentum: Finite = Field(default=0.0, ge=0, lt=1)
    """Of SGD; the others have none."""
    proximal_mu: Finite = Field(default=0.0, ge=0)
    """FedProx (Li et al., 2020): the loss grows by µ/2 · ‖w − global w‖²."""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16 on CUDA: the recurrence in bfloat16, loss and weights in float32."""

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> Self:
        if self.momentum and self.optimiser != "sgd":
            raise ValueError(
                f"momentum {self.momentum:g} is for optimiser sgd, and {self.optimiser} has its own. "
                "Set momentum to 0, or optimiser to sgd"
            )
        return self
