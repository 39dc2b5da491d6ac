"""Comparisons that are ready to run: TOML files shipped with the program, in the folder ``presets``.

Enters: a preset's name and, where it reads somebody's data, their folder. Leaves: its configuration, and its
text, which a user may save and edit.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Final

from mien_common.errors import SettingsError

from .config import Config, parse_config

PRESETS: Final = ("mase2021", "avec2016", "puppet", "synthetic")
"""In the order of the help text."""

_DATA: Final = '"PATH"'
"""Where a preset's text wants the folder of the data."""


def preset(name: str, data: Path | None = None) -> tuple[Config, str]:
    """The preset ``name`` on the data in the folder ``data``, and its text.

    Raises
    ------
    SettingsError
        There is no such preset, it needs data, or it makes its own.
    """
    text = preset_text(name, data)
    if _DATA in text:
        raise SettingsError(f"preset {name} needs data. Give their folder with --data.")
    return parse_config(text, f"preset {name}", Path()), text


def preset_text(name: str, data: Path | None = None) -> str:
    """The preset's TOML; without ``data``, a preset that needs them says ``path = "PATH"``.

    Raises
    ------
    SettingsError
        There is no such preset, or it makes its own data.
    """
    if name not in PRESETS:
        raise SettingsError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}.")
    text = (resources.files(__package__) / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    if data is None:
        return text
    if _DATA not in text:
        raise SettingsError(f"preset {name} makes its own data. Leave --data out.")
    # A JSON string is a TOML string, too.
    return text.replace(_DATA, json.dumps(str(data.expanduser().resolve()), ensure_ascii=False))
