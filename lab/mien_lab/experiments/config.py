"""What a comparison is: one TOML file, validated once.

Enters: ``CONFIG.toml``. Leaves: a frozen :class:`Config`; a wrong key or value is one sentence with its name.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mien_common.architecture import Architecture
from mien_common.messages import TrainingSettings
from mien_server.rules.settings import RuleSettings

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusChoice(_Part):
    """Where the data are, and which of them."""

    kind: Literal[
        "recola", "avec2016", "avec2018", "openface", "py-feat", "csv", "sessions", "puppet", "synthetic"
    ]
    path: Path | None = None
    """Relative to the configuration's own folder. None for data that are made: puppet, synthetic."""
    features: str | None = None
    """AVEC: which feature set (geometric, appearance, AU, BoVW); others have one."""
    gold_standard: Literal["given", "mean", "weighted"] = "mean"
    """Of several raters: the release's own, their plain mean, or weighted by their CCC with each other."""
    seed: int = Field(default=7, ge=0)
    """Of data that are made."""
    participants: int | None = Field(default=None, ge=2, le=1000)
    """Of data that are made."""


class Split(_Part):
    """Who trains and who is tested on."""

    kind: Literal["leave-one-out", "k-fold", "official", "sessions"]
    """The first three by participant. ``sessions``: each participant's last recording is tested on."""
    folds: int | None = Field(default=None, ge=2, le=1000)
    """Of k-fold."""
    seed: int = Field(default=0, ge=0)
    """Of the order in which participants go into folds."""
    participants_per_site: int = Field(default=1, ge=1)
    validation_share: float = Field(default=0.2, ge=0, lt=1)
    """The last part of every training recording, kept from training to stop early by; 0: never stop."""


class Ratings(_Part):
    """How ratings become targets, and predictions become ratings again."""

    lag_s: float | Literal["grid"] = 0.0
    """The raters' reaction lag; ``grid``: chosen on training people."""
    lag_from_s: float = Field(default=0.0, ge=0, le=10)
    lag_to_s: float = Field(default=6.0, gt=0, le=10)
    lag_step_s: float = Field(default=0.2, gt=0, le=2)
    lag_of: Literal["all", "site"] = "all"
    """One lag for everybody, or one per site, each from that site's own training recordings."""
    smoothing_s: float = Field(default=0.0, ge=0, le=60)
    """Length of a centred moving average over predictions."""
    centre: bool = False
    """Move predictions by the bias they have on training people."""
    scale: bool = False
    """Stretch predictions by the ratio of standard deviations on training people."""


class ModelChoice(_Part):
    """A model to compare."""

    name: Name
    architecture: Architecture = Architecture()
    """``channels`` is set to the corpus's."""


class Method(_Part):
    """A way of training to compare."""

    name: Name
    kind: Literal["centralised", "federated", "local-only"]
    rule: RuleSettings = RuleSettings()
    """Of federated training."""
    personalisation: Literal["none", "local-head", "local-normalisation", "fine-tuning"] = "none"
    fine_tuning_epochs: int = Field(default=5, ge=1, le=1000)
    participation: float = Field(default=1.0, gt=0, le=1)
    """Share of sites asked in a round."""


class Config(_Part):
    """A comparison: models × methods × seeds × folds."""

    name: Name
    protocol: Literal["avec", "mase2021"] = "avec"
    """A CCC per recording of frames; or of means over windows of 600 frames, as Mase et al. (2021)."""
    corpus: CorpusChoice
    split: Split
    ratings: Ratings = Ratings()
    scaling: Literal["participant", "training"] = "participant"
    """Channels standardised by each participant's own features, or by those of training people."""
    training: TrainingSettings = TrainingSettings()
    rounds: int = Field(default=20, ge=1, le=10_000)
    """Of federated training; the others get rounds × local epochs."""
    patience: int | None = Field(default=None, ge=1)
    """Rounds without a better validation CCC after which training ends; None: the best of all rounds."""
    models: tuple[ModelChoice, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(default=(1,), min_length=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
