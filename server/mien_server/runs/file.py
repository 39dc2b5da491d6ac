"""A run's settings in a file, ``run.toml``, and what messages call a setting: by its key, or its option.

Enters: TOML as an operator wrote it. Leaves: its values, not yet checked, and when the run is to start. ::

    rounds = 20
    quorum = 3
    fraction = 0.5
    at = 2026-11-24T22:00:00
    rule = { name = "fedadam", tau = 0.001 }
    training = { local_epochs = 2 }
"""

import datetime as dt
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien_common.config_problems import key_of
from mien_common.errors import InputError, SettingsError
from mien_common.files import read_bounded

LIMIT_BYTES: Final = 64 * 1024
AT: Final = "at"

Location = tuple[int | str, ...]

_OPTIONS: Final = {"deadline_s": "deadline", "wait_s": "wait", "name": "rule", "kind": "model"}
"""Settings whose option is called otherwise."""


@dataclass(frozen=True)
class RunFile:
    """What ``run.toml`` says."""

    path: Path
    values: Mapping[str, Any]
    """Settings of the run, not yet checked."""
    at: object
    """When it is to start, not yet checked; None: at once."""


@dataclass(frozen=True)
class Source:
    """Where settings come from, for messages: options, and a file beneath them where there is one."""

    file: Path | None = None
    options: frozenset[Location] = frozenset()
    """With a file: what was given on the command line all the same."""

    def is_option(self, location: Location) -> bool:
        """Whether the setting at ``location`` is the command line's."""
        return self.file is None or location in self.options

    def name(self, location: Location) -> str:
        """What to call the setting: ``--tau``, or ``run.toml: rule.tau``."""
        return _option(location) if self.is_option(location) else f"{self.file}: {key_of(location)}"

    def setting(self, location: Location, value: str | int) -> str:
        """The setting with a value, as it is given: ``--quorum 3``, or ``quorum = 3``."""
        if self.is_option(location):
            return f"{_option(location)} {value}"
        return f"{key_of(location)} = {json.dumps(value)}"


def _option(location: Location) -> str:
    name = str(location[-1])
    return "--" + _OPTIONS.get(name, name).replace("_", "-")


def read_run_file(path: Path) -> RunFile:
    """What the file says; its settings are checked by :func:`~mien_server.runs.settings.checked`.

    Raises
    ------
    SettingsError
        It cannot be read, or is not TOML.
    """
    try:
        values = tomllib.loads(read_bounded(path, LIMIT_BYTES).decode())
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}. Mend it by hand.") from error
    except (InputError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as a run's settings: {error}") from error
    at = values.pop(AT, None)
    return RunFile(path, values, at)


def start_time(given: object, name: str, now: dt.datetime) -> dt.datetime:
    """The moment ``given``, in UTC; without a zone it is this machine's local time.

    Parameters
    ----------
    given : ``2026-11-24T22:00``, or a date and time of TOML.
    name : what messages call it.

    Raises
    ------
    SettingsError
        It is not a date and time, or is over.
    """
    try:
        moment = given if isinstance(given, dt.datetime) else dt.datetime.fromisoformat(str(given))
        if not isinstance(given, dt.datetime) and len(str(given)) <= len("2026-11-24"):
            raise ValueError("no time of day")
        start = moment.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise SettingsError(
            f"{name}: {str(given)!r} is not a date and time. Write it like 2026-11-24T22:00 (this machine's "
            "local time) or 2026-11-24T22:00+01:00."
        ) from error
    if start < now:
        raise SettingsError(
            f"{name}: {moment.isoformat(' ', 'minutes')} is over. Give one to come, or none to start at once."
        )
    return start


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` in their place, table by table."""
    result = dict(below)
    for key, value in above.items():
        beneath = result.get(key)
        both = isinstance(value, Mapping) and isinstance(beneath, Mapping)
        result[key] = merged(beneath, value) if both else value  # type: ignore[arg-type]
    return result


def locations(values: Mapping[str, Any], before: Location = ()) -> dict[Location, Any]:
    """Every value that is no table, by where it is: ``("rule", "tau")``."""
    found: dict[Location, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= locations(value, (*before, key))
        else:
            found[*before, key] = value
    return found
