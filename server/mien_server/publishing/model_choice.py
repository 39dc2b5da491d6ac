"""Which model an operator means: ``latest``, ``RUN/ROUND``, or a release's version.

Enters: what was typed. Leaves: the folder of a published model inside this server's folder, never elsewhere.
"""

import re
from pathlib import Path
from typing import Final

from mien_common.errors import InputError
from mien_common.files import is_there
from mien_common.release_version import parse_version
from mien_server.folder import ServerFolder
from mien_server.publishing.registry import LATEST

_RUN_AND_ROUND: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,127})/(?:round-)?([0-9]{1,7})", re.ASCII)


def published_model(folder: ServerFolder, text: str) -> Path:
    """The folder of the round's model that ``text`` names: ``latest``, ``RUN/3`` or ``RUN/round-0003``.

    Raises
    ------
    InputError
        It names none, or there is no such model.
    """
    if text == LATEST:
        path = folder.models / LATEST
    else:
        found = _RUN_AND_ROUND.fullmatch(text)
        if found is None or ".." in found[1]:
            raise InputError(
                f"{text[:200]!r} names no model. Give RUN/ROUND, like 2026-11-23-001/12, or latest; "
                "`mien server models` lists them."
            )
        path = folder.models / found[1] / f"round-{int(found[2]):04d}"
    if not is_there(path):
        raise InputError(f"there is no model {text}. `mien server models` lists them.")
    return path.resolve()


def any_model(folder: ServerFolder, text: str) -> Path:
    """The same, or the release whose version ``text`` is.

    Raises
    ------
    InputError
        It names none, or there is no such model or release.
    """
    if text == LATEST or "/" in text:
        return published_model(folder, text)
    path = folder.releases / str(parse_version(text))
    if not is_there(path):
        raise InputError(f"there is no release {text}. `mien server releases` lists them.")
    return path
