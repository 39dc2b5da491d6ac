"""Whose a recording is: ``participants.csv``, or where its files lie and what they are called.

Enters: a corpus's folder. Leaves: a participant, and perhaps a partition, for each recording's name.
"""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from mien_common.errors import InputError

from .corpus import Partition
from .table import content_of

PARTICIPANTS_FILE: Final = "participants.csv"
_PARTITIONS: Final[Mapping[str, Partition]] = {name: name for name in get_args(Partition)}


@dataclass(frozen=True)
class Person:
    """Who is in a recording."""

    name: str
    partition: Partition | None = None


def read_participants(folder: Path) -> dict[str, Person] | None:
    """What ``participants.csv`` says, by recording; None where there is none.

    Raises
    ------
    InputError
        A line lacks a cell, a recording is there twice, a partition is not train, dev or test, or one
        person is in two.
    """
    path = folder / PARTICIPANTS_FILE
    if not path.is_file():
        return None
    try:
        lines = content_of(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8. Save it as CSV in UTF-8.") from error
    reader = csv.reader(lines, delimiter=";" if ";" in lines[0] else ",", skipinitialspace=True)
    header = [cell.strip().lower() for cell in next(reader)]
    if header not in (["recording", "participant"], ["recording", "participant", "partition"]):
        raise InputError(f"{path} must begin with recording,participant or recording,participant,partition.")
    people: dict[str, Person] = {}
    partition_of: dict[str, Partition | None] = {}
    for cells in reader:
        if not cells:
            continue
        where = f"{path}, line {reader.line_num}"
        recording, person = _person(where, [cell.strip() for cell in cells], len(header))
        if recording in people:
            raise InputError(f"{where}: recording {recording} is there twice.")
        if partition_of.setdefault(person.name, person.partition) != person.partition:
            raise InputError(f"{where}: participant {person.name} is in two partitions.")
        people[recording] = person
    return people


def _person(where: str, cells: list[str], columns: int) -> tuple[str, Person]:
    if len(cells) != columns or not all(cells[:2]):
        raise InputError(f"{where}: {columns} cells are needed, recording and participant not empty.")
    said = cells[2].lower() if columns == 3 else ""
    if said and said not in _PARTITIONS:
        raise InputError(f"{where}, column partition: {cells[2]!r} is not train, dev or test.")
    return cells[0], Person(cells[1], _PARTITIONS.get(said))


def require_all_there(people: Mapping[str, Person] | None, names: Collection[str], manifest: Path) -> None:
    """Raise InputError where ``participants.csv`` names a recording that has no features."""
    for recording in people or ():
        if recording not in names:
            raise InputError(f"{manifest} names the recording {recording}, and there are no features of it.")


def person_of(people: Mapping[str, Person] | None, recording: str, manifest: Path) -> Person:
    """Who is in ``recording``, a path seen from the corpus's folder, without its ending.

    Raises
    ------
    InputError
        ``participants.csv`` does not name it.
    """
    if people is not None:
        if recording not in people:
            raise InputError(f"{manifest} does not name the recording {recording}. Add a line for it.")
        return people[recording]
    parts = Path(recording).parts
    return Person(parts[0] if len(parts) > 1 else parts[0].partition("_")[0])
