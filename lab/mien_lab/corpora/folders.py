"""The folder a configuration names: there, and the right one."""

from pathlib import Path

from mien_common.errors import InputError
from mien_common.files import is_there


def require_folder(path: Path) -> None:
    """Raise InputError when ``path`` is no folder."""
    if not is_there(path):
        raise InputError(
            f"{path} is not there. Check corpus.path; it is seen from the configuration's folder."
        )
    if not path.is_dir():
        raise InputError(f"{path} is a file. Give the folder it lies in as corpus.path.")


def find_folder(path: Path, *, wanted: str, places: tuple[str, ...]) -> Path:
    """The first of ``places`` under ``path`` that is a folder, upper and lower case alike.

    Raises
    ------
    InputError
        None is; the message says what was looked for.
    """
    require_folder(path)
    for place in places:
        found: Path | None = path
        for part in Path(place).parts:
            found = entry(found, part) if found is not None else None
        if found is not None:
            return found
    looked = " or ".join(places)
    raise InputError(f"{path} is not the folder of {wanted}: looked for {looked} in it.")


def entry(folder: Path, name: str) -> Path | None:
    """The sub-folder of this name, upper and lower case alike."""
    exact = folder / name
    if exact.is_dir():
        return exact
    return next((e for e in sorted(folder.iterdir()) if e.name.lower() == name.lower() and e.is_dir()), None)
