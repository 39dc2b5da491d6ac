"""Which rule a run uses, and its numbers."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from .names import RuleName as RuleName
from .names import Weighting

Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

USES: Final[Mapping[RuleName, frozenset[str]]] = {
    "fedavg": frozenset({"weighting"}),
    "fedprox": frozenset({"weighting", "proximal_mu"}),
    "fedavgm": frozenset({"weighting", "server_learning_rate", "server_momentum"}),
    "fedadam": frozenset({"weighting", "server_learning_rate", "beta_1", "beta_2", "tau"}),
    "fedyogi": frozenset({"weighting", "server_learning_rate", "beta_1", "beta_2", "tau"}),
    "fedadagrad": frozenset({"weighting", "server_learning_rate", "tau"}),
    "scaffold": frozenset({"server_learning_rate"}),
    "median": frozenset(),
    "trimmed-mean": frozenset({"trimmed_share"}),
    "krum": frozenset({"byzantine_sites"}),
    "multi-krum": frozenset({"byzantine_sites", "selected_sites"}),
    "bulyan": frozenset({"byzantine_sites"}),
}
"""The numbers that each rule looks at."""


class RuleSettings(BaseModel):
    """A federated rule. Numbers that the named rule does not use are not looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: RuleName = "fedavg"
    weighting: Weighting = "frames"
    """The robust rules and SCAFFOLD count all sites the same."""
    proximal_mu: Positive = 0.01
    """FedProx: how strongly a site is held to the global weights."""
    server_learning_rate: Positive | None = None
    """None: the rule's own default: 1 for FedAvgM and SCAFFOLD, 0.03 for the adaptive ones."""
    server_momentum: Share = 0.9
    """FedAvgM."""
    beta_1: Share = 0.9
    beta_2: Share = 0.99
    """FedAdam, FedYogi: decay of the mean update, and of its square."""
    tau: Positive = 1e-3
    """FedAdam, FedYogi, FedAdagrad: degree of adaptivity (Reddi et al., 2021)."""
    trimmed_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.2
    """Trimmed mean: share left out at each end."""
    byzantine_sites: int = Field(default=0, ge=0)
    """Krum, Multi-Krum, Bulyan: how many sites may be hostile."""
    selected_sites: int | None = Field(default=None, ge=1)
    """Multi-Krum: how many are averaged; all but the hostile ones when omitted."""
