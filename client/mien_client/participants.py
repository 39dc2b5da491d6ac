"""What a site keeps of a participant across sessions: the neutral face, as 17 numbers.

Enters: a measured :class:`Calibration`. Stays here: ``calibrations/<participant>.json``, mode 0600.
Nothing of it leaves the site: a resting face's action units tell people apart.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mien_common.errors import InputError, SettingsError
from mien_common.files import is_there, make_folder, read_bounded, write_atomic
from mien_common.schema import AU_CHANNELS

from .calibration import PARTICIPANT_PATTERN, KnownNeutral, Neutral, ParticipantName, RunningNeutral
from .site import Site, first_problem

LARGEST_FILE_BYTES: Final = 64 * 1024


class Rest(BaseModel):
    """One action unit of a face at rest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    neutral: Annotated[float, Field(ge=-20, le=20)]
    """Raw, on the scale of 0 (an average resting face) to 5."""
    spread: Annotated[float, Field(ge=0, le=20)]
    """Standard deviation at rest, by the interquartile range."""


class Calibration(BaseModel):
    """A participant's neutral face, as it was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    layout: Literal[1] = 1
    participant: ParticipantName
    created: str = Field(max_length=64)
    source: Literal["camera", "recording"]
    seconds: float = Field(gt=0, le=86400)
    """Of near-frontal face."""
    frames: int = Field(gt=0)
    units: dict[str, Rest]
    versions: dict[str, str]

    @field_validator("units")
    @classmethod
    def _every_unit(cls, value: dict[str, Rest]) -> dict[str, Rest]:
        if set(value) != set(AU_CHANNELS):
            raise ValueError("must name each action unit once")
        return value

    def neutral(self) -> KnownNeutral:
        """What is subtracted from this participant's raw action units."""
        return KnownNeutral(np.array([self.units[name].neutral for name in AU_CHANNELS], np.float32))


def neutral_for(site: Site | None, participant: str | None) -> tuple[Neutral, str]:
    """A participant's neutral for one recording, and a sentence that says which.

    Parameters
    ----------
    site : where calibrations are kept; None where there is none.
    participant : whose face it is; None where nobody said.

    Returns
    -------
    The calibration where there is one, else a running neutral. Take another for each recording: the
    running one learns.

    Raises
    ------
    SettingsError
        No participant can be called so.
    InputError
        The calibration is damaged.
    """
    if participant is None:
        return RunningNeutral(), "neutral face: learnt from the first minute; nobody said whose face it is"
    if (calibration := read_calibration(site, participant) if site is not None else None) is None:
        return RunningNeutral(), (
            f"neutral face: learnt from the first minute; {participant} has no calibration here "
            f"(`mien agent calibrate SOURCE --participant {participant}` makes one)"
        )
    return calibration.neutral(), f"neutral face: {participant}'s, measured {calibration.created[:10]}"


def calibration_file(site: Site, participant: str) -> Path:
    """Where a participant's calibration lies, or would.

    Raises
    ------
    SettingsError
        No participant can be called so.
    """
    if not re.fullmatch(PARTICIPANT_PATTERN, participant):
        raise SettingsError(
            f"{participant!r} will not do for a participant. Use at most 64 letters, digits, dots, dashes "
            "and underscores, and begin with a letter or a digit, like p-07; no real names."
        )
    return site.calibrations / f"{participant}.json"


def write_calibration(site: Site, calibration: Calibration) -> Path:
    """Keep a calibration in place of the participant's earlier one; its file.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    path = calibration_file(site, calibration.participant)
    make_folder(site.calibrations, mode=0o700)
    write_atomic(path, calibration.model_dump_json(indent=2).encode() + b"\n", mode=0o600)
    return path


def read_calibration(site: Site, participant: str) -> Calibration | None:
    """A participant's calibration; None where there is none.

    Raises
    ------
    SettingsError
        No participant can be called so.
    InputError
        It is damaged, or another participant's.
    """
    path = calibration_file(site, participant)
    if not is_there(path):
        return None
    try:
        found = Calibration.model_validate_json(read_bounded(path, LARGEST_FILE_BYTES))
    except ValidationError as error:
        raise InputError(
            f"{path} is no usable calibration ({first_problem(error)}). Measure it again with "
            f"`mien agent calibrate SOURCE --participant {participant}`."
        ) from error
    if found.participant != participant:
        raise InputError(f"{path} is the calibration of {found.participant}. Give it that name again.")
    return found
