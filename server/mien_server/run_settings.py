"""What one run does: the settings the operator gave it, kept beside its events.

Enters: the command line of ``mien server run``. Leaves: ``runs/RUN/settings.json``, read by the ServerApp.
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.architecture import Architecture
from mien_common.errors import InputError, SettingsError
from mien_common.files import make_folder, read_bounded, storage_errors, write_atomic
from mien_common.messages import TrainingSettings
from mien_server.folder import ServerFolder
from mien_server.rules.choice import rule_from
from mien_server.rules.settings import USES, RuleSettings

SETTINGS_FILE: Final = "settings.json"
SETTINGS_LIMIT_BYTES: Final = 256 * 1024


class RunSettings(BaseModel):
    """Settings of a run; the same for all its rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(ge=1, le=1_000_000)
    quorum: int = Field(ge=1, le=100_000)
    """Sites that must answer for a round to count."""
    deadline_s: float = Field(default=600.0, gt=0, le=86_400)
    """The longest a round waits for its sites' training, and again for their evaluation."""
    wait_s: float = Field(default=120.0, ge=0, le=86_400)
    """How long a round waits for enough sites to be there."""
    seed: int = Field(default=7, ge=0, lt=2**63)
    """Of the first weights and of every site's batches."""
    evaluate: bool = True
    """Whether every round ends with an evaluation on the sites' held-out recordings."""
    max_update_norm: float = Field(default=1000.0, gt=0)
    """An update whose Euclidean norm is larger is rejected."""
    training: TrainingSettings = TrainingSettings()
    architecture: Architecture = Architecture()
    rule: RuleSettings = RuleSettings()
    """How the sites' updates become new global weights."""


def majority(sites: int) -> int:
    """The default quorum: more than half of the enrolled sites."""
    return sites // 2 + 1


def checked(values: Mapping[str, object], enrolled: int | None = None) -> RunSettings:
    """Settings out of what the operator gave.

    Parameters
    ----------
    enrolled : sites that are enrolled. Where it is known, a quorum may be left out: it is their majority
        then, or what the rule needs, if that is more.

    Raises
    ------
    SettingsError
        One of them is out of range, or the deployed server cannot do it.
    """
    chosen = "quorum" in values or enrolled is None
    try:
        settings = RunSettings.model_validate(
            values if chosen else {**values, "quorum": majority(enrolled or 0)}
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][-1])
        option = {"deadline_s": "deadline", "wait_s": "wait", "name": "rule"}.get(name, name)
        raise SettingsError(
            f"--{option.replace('_', '-')}: {problem['msg']}, got {problem['input']!r}"
        ) from error
    _check_rule(settings.rule)
    fewest = rule_from(settings.rule).fewest_sites
    if chosen and settings.quorum < fewest:
        raise SettingsError(
            f"--quorum: --rule {settings.rule.name}, as it was set, needs updates of at least {fewest} sites "
            f"in a round; a quorum of {settings.quorum} lets it go on with fewer. "
            f"Give --quorum {fewest} or more."
        )
    return settings.model_copy(update={"quorum": max(settings.quorum, fewest)})


def _check_rule(rule: RuleSettings) -> None:
    """Raise SettingsError where a run could not do what its operator expects of ``rule``."""
    if rule.name == "scaffold":
        raise SettingsError(
            "--rule: scaffold is for `mien lab compare`. It needs sites that keep a control variate from "
            "round to round, and the agents keep none. Choose another rule; docs/rules.md tells them apart."
        )
    unused = sorted(rule.model_fields_set - {"name"} - USES[rule.name])
    if unused:
        users = ", ".join(name for name, numbers in USES.items() if unused[0] in numbers)
        raise SettingsError(
            f"--{unused[0].replace('_', '-')}: --rule {rule.name} does not look at it. It is for {users}."
        )
    if "byzantine_sites" in USES[rule.name] and not rule.byzantine_sites:
        raise SettingsError(
            f"--byzantine-sites: tell {rule.name} how many sites may be hostile, at least 1. If none can be, "
            "take --rule fedavg."
        )


def create_run(folder: ServerFolder, settings: RunSettings, now: dt.datetime) -> Path:
    """The folder of a new run, named by the day and a number; its settings lie in it."""
    make_folder(folder.runs)
    for number in range(1, 100_000):
        path = folder.runs / f"{now:%Y-%m-%d}-{number:03d}"
        with storage_errors(path):
            try:
                path.mkdir()
            except FileExistsError:
                continue
        write_atomic(path / SETTINGS_FILE, settings.model_dump_json(indent=2).encode() + b"\n")
        return path
    raise SettingsError(f"{folder.runs} is full of today's runs. Move some of them away.")


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
