"""What one run does: the settings the operator gave it, kept beside its events.

Enters: the command line of ``mien server run``, and its ``run.toml``. Leaves: ``runs/RUN/settings.json``,
read by the ServerApp.
"""

import datetime as dt
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.architecture import Architecture
from mien_common.config_problems import first_problem, worst_of
from mien_common.errors import InputError, SettingsError
from mien_common.files import make_folder, new_folder, read_bounded, write_atomic
from mien_common.schema import AU_V1
from mien_common.training_settings import TrainingSettings
from mien_server.folder import ServerFolder
from mien_server.rules.settings import USES, RuleSettings
from mien_server.runs.file import AT, Source, locations, merged

SETTINGS_FILE: Final = "settings.json"
SETTINGS_LIMIT_BYTES: Final = 256 * 1024

RUN_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What a run may be called; the same as sites accept."""

_ROUNDING: Final = 1e-9
"""A share of sites is meant as a fraction: 0.07 of 100 is 7, though 0.07 · 100 is a little more."""


class RunSettings(BaseModel):
    """Settings of a run; the same for all its rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(ge=1, le=1_000_000)
    schema_name: Literal["au-v1"] = "au-v1"
    """Of the features that sites train on; a site that has others says so and does not train."""
    quorum: int = Field(ge=1, le=100_000)
    """Sites that must answer for a round to count."""
    deadline_s: float = Field(default=600.0, gt=0, le=86_400)
    """The longest a round waits for its sites' training, and again for their evaluation."""
    wait_s: float = Field(default=120.0, ge=0, le=86_400)
    """How long a round waits for enough sites to be there."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the sites that are online which a round asks to train; never fewer than the quorum."""
    seed: int = Field(default=7, ge=0, lt=2**63)
    """Of the first weights, of every site's batches, and of which sites a round asks."""
    evaluate: bool = True
    """Whether every round ends with an evaluation on the sites' held-out recordings."""
    max_update_norm: float = Field(default=1000.0, gt=0, allow_inf_nan=False)
    """An update whose Euclidean norm is larger is rejected."""
    training: TrainingSettings = TrainingSettings()
    architecture: Architecture = Architecture()
    rule: RuleSettings = RuleSettings()
    """How the sites' updates become new global weights."""


def majority(sites: int) -> int:
    """The default quorum: more than half of the sites that a round asks."""
    return sites // 2 + 1


def share_of(sites: int, fraction: float) -> int:
    """How many of ``sites`` a ``fraction`` of them is, at least; 1 where there are any."""
    return math.ceil(fraction * sites - _ROUNDING)


def checked(
    values: Mapping[str, Any],
    enrolled: int | None = None,
    source: Source = Source(),  # noqa: B008 - frozen
) -> RunSettings:
    """Settings out of what the operator gave.

    Parameters
    ----------
    enrolled : sites that are enrolled. Where it is known, a quorum may be left out: it is the majority of
        those a round asks then, or what the rule needs, if that is more.
    source : where the values come from, for messages.

    Raises
    ------
    SettingsError
        One of them is unknown or out of range, or the deployed server cannot do it.
    """
    from mien_server.rules.choice import rule_from  # PyTorch, for which who only looks at runs need not wait

    chosen = "quorum" in values or enrolled is None
    settings = _validated(values if chosen else {**values, "quorum": 1}, source)
    _check_rule(settings.rule, source)
    _check_architecture(settings.architecture, source)
    fewest = rule_from(settings.rule).fewest_sites
    if not chosen:
        quorum = max(majority(share_of(enrolled or 0, settings.fraction)), fewest)
        return settings.model_copy(update={"quorum": quorum})
    if settings.quorum < fewest:
        raise SettingsError(
            f"{source.name(('quorum',))}: {source.setting(('rule', 'name'), settings.rule.name)}, as it was "
            f"set, needs updates of at least {fewest} sites in a round; a quorum of {settings.quorum} lets "
            f"it go on with fewer. Give {source.setting(('quorum',), fewest)} or more."
        )
    return settings


def _validated(values: Mapping[str, Any], source: Source) -> RunSettings:
    try:
        # Strict: a file's "3" is no number, and its true no 1.
        return RunSettings.model_validate(values, strict=True)
    except ValidationError as error:
        problem = worst_of(error)
        if source.is_option(problem["loc"]):
            raise SettingsError(
                f"{source.name(problem['loc'])}: {problem['msg']}, got {problem['input']!r}"
            ) from error
        raise SettingsError(f"{source.file}: {first_problem(error, RunSettings, also=(AT,))}") from error


def _check_rule(rule: RuleSettings, source: Source) -> None:
    """Raise SettingsError where a run could not do what its operator expects of ``rule``."""
    by_name = ("rule", "name")
    if rule.name == "scaffold":
        raise SettingsError(
            f"{source.name(by_name)}: scaffold is for `mien lab compare`. It needs sites that keep a control "
            "variate from round to round, and the agents keep none. Choose another rule; docs/rules.md tells "
            "them apart."
        )
    unused = sorted(rule.model_fields_set - {"name"} - USES[rule.name])
    if unused:
        users = ", ".join(name for name, numbers in USES.items() if unused[0] in numbers)
        raise SettingsError(
            f"{source.name(('rule', unused[0]))}: {source.setting(by_name, rule.name)} does not look at it. "
            f"It is for {users}."
        )
    if "byzantine_sites" in USES[rule.name] and not rule.byzantine_sites:
        raise SettingsError(
            f"{source.name(('rule', 'byzantine_sites'))}: tell {rule.name} how many sites may be hostile, at "
            f"least 1. If none can be, take {source.setting(by_name, 'fedavg')}."
        )


def _check_architecture(architecture: Architecture, source: Source) -> None:
    """Raise SettingsError for a model that no site could train."""
    if architecture.channels != len(AU_V1.channels):
        raise SettingsError(
            f"{source.name(('architecture', 'channels'))}: the sites' features have {len(AU_V1.channels)} "
            f"channels ({AU_V1.name}), not {architecture.channels}. Leave it out."
        )
    if architecture.predicts != "frames":
        raise SettingsError(
            f"{source.name(('architecture', 'predicts'))}: a model that predicts whole windows is for "
            "`mien lab compare`; sites compare frame by frame. Leave it out."
        )


def check_same(given: Mapping[str, Any], settings: RunSettings, run: str, source: Source) -> None:
    """What is given to go on with ``run`` must be what it was started with.

    Raises
    ------
    SettingsError
        It is not, or would not be a run's at all.
    """
    kept = locations(settings.model_dump())
    wanted = locations(_validated(merged(settings.model_dump(), given), source).model_dump())
    for location in locations(given):
        if wanted[location] != kept[location]:
            raise SettingsError(
                f"{source.name(location)}: the run {run} was started with {kept[location]!r}, this says "
                f"{wanted[location]!r}. A run keeps its settings: leave it out, or start a new run."
            )


def in_words(settings: RunSettings) -> dict[str, Any]:
    """What ``run.toml`` would say: every setting, of the rule's numbers those it looks at."""
    values = settings.model_dump(mode="json", exclude_none=True)
    used = {"name", *USES[settings.rule.name]}
    values["rule"] = {name: value for name, value in values["rule"].items() if name in used}
    return values


def create_run(folder: ServerFolder, settings: RunSettings, now: dt.datetime) -> Path:
    """The folder of a new run, named by the day and a number; its settings lie in it.

    The folder appears whole. To be called by one process at a time.
    """
    make_folder(folder.runs)
    for number in range(1, 100_000):
        path = folder.runs / f"{now:%Y-%m-%d}-{number:03d}"
        if path.exists() or (folder.models / path.name).exists():
            continue
        with new_folder(path) as draft:
            write_atomic(draft / SETTINGS_FILE, settings.model_dump_json(indent=2).encode() + b"\n")
        return path
    raise SettingsError(f"{folder.runs} is full of today's runs. Move some of them away.")


def run_folder(folder: ServerFolder, run: str) -> Path:
    """The folder of the run called ``run``, which must not lead out of the server's.

    Raises
    ------
    SettingsError
        That cannot be a run's name, or there is no such run.
    """
    if not re.fullmatch(RUN_NAME, run):
        raise SettingsError(f"{run!r} is not the name of a run. `mien server list` shows them.")
    path = folder.runs / run
    if not (path / SETTINGS_FILE).is_file():
        raise SettingsError(f"there is no run {run} in {folder.runs}. `mien server list` shows them.")
    return path


def read_run(path: Path) -> RunSettings:
    """The settings of the run in ``path``.

    Raises
    ------
    SettingsError
        They are missing or damaged.
    """
    file = path / SETTINGS_FILE
    try:
        return RunSettings.model_validate_json(read_bounded(file, SETTINGS_LIMIT_BYTES))
    except (InputError, ValidationError) as error:
        raise SettingsError(f"{file} is not a run's settings: {error}") from error
