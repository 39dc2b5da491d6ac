"""What a comparison is: one TOML file, validated once.

Enters: ``CONFIG.toml``. Leaves: a frozen :class:`Config`; a wrong key or value is one sentence with its name.
Ten lines of it are a comparison::

    name = "GRU against LSTM"
    corpus = { kind = "recola", path = "/data/RECOLA" }
    split = { kind = "leave-one-out" }
    ratings = { lag_s = "grid" }
    models = [{ name = "GRU" }, { name = "LSTM", architecture = { kind = "lstm" } }]
    methods = [{ name = "federated", kind = "federated" }]
"""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mien_common.architecture import Architecture
from mien_common.config_problems import first_problem
from mien_common.errors import InputError, SettingsError
from mien_common.files import read_bounded
from mien_common.messages import TrainingSettings
from mien_server.rules.settings import USES, RuleSettings

LIMIT_BYTES: Final = 256 * 1024
"""Largest configuration that is read."""

LAG_GRID: Final = "grid"
LONGEST_LAG_S: Final = 10.0
MADE: Final = ("puppet", "synthetic")
"""Kinds of corpus that are made, not read."""

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
    """Relative to the configuration's own folder. Of puppets, where films are kept for the next time; none
    of synthetic data."""
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

    @model_validator(mode="after")
    def _folds_of_k_fold(self) -> Self:
        if self.kind == "k-fold" and self.folds is None:
            raise ValueError("folds: is missing. Give the number of folds of k-fold.")
        if self.kind != "k-fold" and self.folds is not None:
            raise ValueError(f'folds: only kind = "k-fold" has a number of folds, {self.kind} has not.')
        return self


class Ratings(_Part):
    """How ratings become targets, and predictions become ratings again."""

    lag_s: float | Literal["grid"] = 0.0
    """The raters' reaction lag; ``grid``: chosen on training people."""
    lag_from_s: float = Field(default=0.0, ge=0, le=LONGEST_LAG_S)
    lag_to_s: float = Field(default=6.0, gt=0, le=LONGEST_LAG_S)
    lag_step_s: float = Field(default=0.2, gt=0, le=2)
    lag_of: Literal["all", "site"] = "all"
    """One lag for everybody, or one per site, each from that site's own training recordings."""
    smoothing_s: float = Field(default=0.0, ge=0, le=60)
    """Length of a centred moving average over predictions."""
    centre: bool = False
    """Move predictions by the bias they have on training people."""
    scale: bool = False
    """Stretch predictions by the ratio of standard deviations on training people."""

    @field_validator("lag_s", mode="before")
    @classmethod
    def _seconds_or_grid(cls, value: object) -> object:
        if value == LAG_GRID:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_LAG_S:
            return float(value)
        raise PydanticCustomError("lag", 'should be "grid", or seconds from 0 to 10')

    @model_validator(mode="after")
    def _a_grid(self) -> Self:
        if self.lag_from_s >= self.lag_to_s:
            raise ValueError(
                f"lag_from_s: should be less than lag_to_s ({self.lag_to_s:g}), not {self.lag_from_s:g}."
            )
        if self.lag_step_s > self.lag_to_s - self.lag_from_s:
            raise ValueError(
                f"lag_step_s: {self.lag_step_s:g} is more than all of the grid. Give a smaller one."
            )
        if self.lag_of == "site" and self.lag_s != LAG_GRID:
            raise ValueError(f'lag_of: a lag per site has to be chosen. Set lag_s = "{LAG_GRID}", too.')
        return self


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

    @model_validator(mode="after")
    def _federated_only(self) -> Self:
        if self.kind == "federated":
            return self
        for name in ("rule", "participation"):
            if name in self.model_fields_set:
                raise ValueError(
                    f"{name}: {self.kind} training has none. Leave it out, or set kind to federated."
                )
        if self.personalisation != "none":
            raise ValueError(
                f"personalisation: only a federated model can be made a site's own, and this is {self.kind}. "
                "Leave it out, or set kind to federated."
            )
        return self


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

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for problem in _misfits(self):
            raise ValueError(problem)
        return self


def read_config(path: Path) -> Config:
    """The comparison in ``path``; its relative paths are seen from the file's folder.

    Raises
    ------
    SettingsError
        The file is missing or no TOML, a key is unknown or missing, or a value cannot be. The message names
        the file and the key.
    """
    try:
        text = read_bounded(path, LIMIT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} cannot be read: it is not in UTF-8. Give a TOML file.") from error
    except InputError as error:
        raise SettingsError(
            f"{path} cannot be read: {str(error).removeprefix(f'cannot read {path}: ')}"
        ) from error
    return parse_config(text, str(path), path.parent)


def parse_config(text: str, source: str, base: Path) -> Config:
    """The comparison in ``text``: messages call it ``source``, its relative paths are seen from ``base``."""
    try:
        config = Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source} is not TOML: {error}. Mend it by hand.") from error
    except ValidationError as error:
        raise SettingsError(f"{source}: {first_problem(error, Config)}") from error
    if config.corpus.path is None:
        return config
    corpus = config.corpus.model_copy(update={"path": (base / config.corpus.path.expanduser()).resolve()})
    return config.model_copy(update={"corpus": corpus})


def _misfits(config: Config) -> Iterator[str]:
    """What is possible by itself and not together, each as ``key: sentence``."""
    yield from _misfits_of_corpus(config.corpus)
    for key, names in (
        ("models", [model.name for model in config.models]),
        ("methods", [method.name for method in config.methods]),
    ):
        yield from _twins(key, names)
    if len(set(config.seeds)) < len(config.seeds):
        yield "seeds: one is there twice, and would give the same numbers. Leave it out."
    if config.patience is not None and config.split.validation_share == 0:
        yield (
            "patience: nothing is kept to stop by, as split.validation_share is 0. "
            "Give a share, or leave patience out."
        )
    for index, model in enumerate(config.models):
        if "channels" in model.architecture.model_fields_set:
            yield f"models[{index}].architecture.channels: the data say how many there are. Leave it out."
        if model.architecture.predicts == "window" and config.protocol != "mase2021":
            yield (
                f"models[{index}].architecture.predicts: a pair per window is scored under "
                f'protocol = "mase2021" only, and this is "{config.protocol}".'
            )
    for index, method in enumerate(config.methods):
        yield from _misfits_of_rule(f"methods[{index}].rule", method.rule)
        yield from _misfits_of_personalisation(config, f"methods[{index}].personalisation", method)
        if "fine_tuning_epochs" in method.model_fields_set and method.personalisation != "fine-tuning":
            yield (
                f"methods[{index}].fine_tuning_epochs: nothing is fine-tuned. Leave it out, or set "
                'personalisation to "fine-tuning".'
            )


def _misfits_of_corpus(corpus: CorpusChoice) -> Iterator[str]:
    made = corpus.kind in MADE
    if not made and corpus.path is None:
        yield f"corpus.path: is missing. Give the folder of the {corpus.kind} data."
    if corpus.kind == "synthetic" and corpus.path is not None:
        yield "corpus.path: synthetic data are made from their seed, not read. Leave it out."
    if not made and corpus.participants is not None:
        yield f"corpus.participants: only data that are made have it ({', '.join(MADE)}). Leave it out."


def _misfits_of_rule(key: str, rule: RuleSettings) -> Iterator[str]:
    """Numbers that would decide nothing: a row of the table would be called what it is not."""
    for name in sorted(rule.model_fields_set - USES[rule.name] - {"name"}):
        users = ", ".join(other for other, numbers in USES.items() if name in numbers)
        yield f"{key}.{name}: {rule.name} does not look at it. It is for {users}. Leave it out."
    if "byzantine_sites" in USES[rule.name] and not rule.byzantine_sites:
        yield (
            f"{key}.byzantine_sites: tell {rule.name} how many sites may be hostile, at least 1. "
            "If none can be, take fedavg."
        )


def _misfits_of_personalisation(config: Config, key: str, method: Method) -> Iterator[str]:
    if method.personalisation == "none":
        return
    if config.split.kind != "sessions":
        yield (
            f'{key}: {method.personalisation} needs split.kind = "sessions", because a person nobody '
            "trained on has nothing to personalise with."
        )
    for index, model in enumerate(config.models):
        normalises = model.architecture.residual or model.architecture.input_norm
        if method.personalisation == "local-normalisation" and not normalises:
            yield (
                f"{key}: local-normalisation keeps normalisation layers at the sites, and models[{index}] "
                f"({model.name}) has none. Set its architecture's input_norm or residual to true."
            )


def _twins(key: str, names: Sequence[str]) -> Iterator[str]:
    """Names that a folder could not tell apart."""
    seen: dict[str, str] = {}
    for index, name in enumerate(names):
        plain = name.replace(" ", "_").casefold()
        if plain in seen:
            yield f"{key}[{index}].name: {name!r} is too much like {seen[plain]!r}. Rename one of them."
        seen[plain] = name
