"""What one run does: the settings the operator gave it, kept beside its events.

Enters: the command line of ``mien server run``. Leaves: ``runs/RUN/settings.json``, read by the ServerApp.
"""

import datetime as dt
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien_common.architecture import Architecture
from mien_common.errors import InputError, SettingsError
from mien_common.files import make_folder, read_bounded, storage_errors, write_atomic
from mien_common.messages import TrainingSettings
from mien_server.folder import ServerFolder
from mien_server.rules.settings import RuleSettings

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


def checked(values: dict[str, object]) -> RunSettings:
    """Settings out of what the operator gave.

    Raises
    ------
    SettingsError
        One of them is out of range.
    """
    try:
        return RunSettings.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][-1])
        option = {"deadline_s": "deadline", "wait_s": "wait"}.get(name, name).replace("_", "-")
        raise SettingsError(f"--{option}: {problem['msg']}, got {problem['input']!r}") from error


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
