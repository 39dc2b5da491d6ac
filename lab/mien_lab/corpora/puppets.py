"""Puppets as a corpus: films of an animated photograph, taken in by the agent's own ``ingest``.

Enters: how many puppets, and a seed. Leaves: sessions in a folder that is kept for the next time, and their
corpus. Synthetic: it shows that the way from film to figure works, and nothing about people.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mien_client.site import SETTINGS_FILE, SiteSettings
from mien_common.errors import StorageError
from mien_common.files import make_folder, new_folder, storage_errors, write_atomic
from mien_lab.mien_command import mien, run_side_by_side
from mien_lab.puppet import PuppetSettings, make_puppets

from .corpus import Corpus
from .site_sessions import read_sessions

NOTE: Final = "Synthetic: a puppeteered photograph, no evidence about people."
PARTICIPANTS: Final = 4
SESSIONS: Final = 2
SECONDS: Final = 30.0
_PART: Final = "sites"

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, frames done and frames in all."""


def read_puppets(
    cache: Path,
    seed: int,
    participants: int = PARTICIPANTS,
    *,
    sessions: int = SESSIONS,
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus of these puppets; filmed and ingested first where ``cache`` does not have them.

    Four puppets with two sessions of 30 s each take about a minute on two cores.

    Raises
    ------
    StorageError
        ``cache`` cannot be written.
    FederationError
        An ingest failed; the message is what it printed.
    """
    progress = progress or (lambda _stage, _done, _total: None)
    settings = PuppetSettings(participants=participants, sessions=sessions, seconds=seconds, seed=seed)
    folder = cache / f"puppets-{participants}x{sessions}x{seconds:g}s-seed-{seed}"
    if not folder.is_dir():
        make_folder(cache)
        try:
            with new_folder(folder) as draft:
                _make(settings, draft, progress)
        except StorageError:
            if not folder.is_dir():  # else another process made the same in the meantime
                raise
    return read_sessions(folder / _PART, NOTE)


def _make(settings: PuppetSettings, folder: Path, progress: Progress) -> None:
    """Film, ingest, and throw the films away."""
    films = folder / "films"
    make_puppets(settings, films, None, lambda done, total: progress("animating", done, total))
    people = sorted(each for each in films.iterdir() if each.is_dir())
    commands = []
    for person in people:
        site = make_folder(folder / _PART / person.name)
        write_atomic(site / SETTINGS_FILE, _settings(person).encode())
        commands.append(mien("agent", "ingest", person, "--site", site, "--json", "--workers", 1))
    done: dict[tuple[int, str], int] = {}

    def take(index: int, line: str) -> None:
        event = json.loads(line)
        if event.get("event") == "progress":
            done[index, event.get("name", "")] = event["frames"]
            progress("analysing", min(sum(done.values()), settings.frames), settings.frames)

    run_side_by_side(commands, take, min(len(commands), os.cpu_count() or 1))
    with storage_errors(films):
        shutil.rmtree(films)


def _settings(person: Path) -> str:
    import tomli_w

    return tomli_w.dumps(SiteSettings(name=person.name, server="localhost:9092").model_dump())
