"""What is published, as facts: every round's model and every release, for the page and the API.

Enters: cards on the disk. Leaves: facts. A card never changes once it is there, so each is read once; nothing
heavy is loaded, and the weights are not looked at.
"""

import contextlib
import hashlib
import math
import threading
from collections import defaultdict
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Final

from mien_common.card import CARD_FILE, ModelCard, read_card
from mien_common.errors import InputError
from mien_common.files import read_bounded
from mien_common.release import FILE_LIMITS_BYTES, INDEX_FILE, SIGNATURE_FILE, SUMS_FILE, SUMS_LIMIT_BYTES
from mien_common.release_version import ReleaseVersion, parse_version
from mien_server.facts import ModelFacts, ReleaseFacts
from mien_server.folder import ServerFolder
from mien_server.publishing.registry import LATEST

MOST_KEPT: Final = 20_000
"""Cards; then all are forgotten and read again as they are asked for."""


class Catalogue:
    """Lists models and releases of one server; may be used from several threads."""

    def __init__(self, folder: ServerFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._cards: dict[tuple[Path, int], ModelCard] = {}

    def models(self, run: str | None = None) -> list[ModelFacts]:
        """Models of every round, or of one run's; the newest first."""
        models = self._folder.models
        latest = _target(models / LATEST)
        versions = defaultdict(list)
        for version, card in self._released():
            versions[card.run, card.round].append(str(version))
        found = [
            _model(card, f"{path.parent.name}/{path.name}" == latest, versions[card.run, card.round])
            for path, card in self._published(run)
        ]
        return sorted(found, key=lambda model: (model.created, model.run, model.round), reverse=True)

    def releases(self) -> list[ReleaseFacts]:
        """Every release, the highest version first."""
        latest = _target(self._folder.releases / LATEST)
        found = []
        for version, card in sorted(self._released(), key=lambda each: each[0], reverse=True):
            with contextlib.suppress(InputError, OSError):  # one that is damaged is no release
                found.append(_release(self._folder.releases / str(version), card, str(version) == latest))
        return found

    def card(self, folder: Path) -> ModelCard:
        """The card of the model in ``folder``.

        Raises
        ------
        ModelError
            It is missing or damaged.
        """
        try:
            key = folder, (folder / CARD_FILE).stat().st_mtime_ns
        except OSError:
            return read_card(folder)  # which says why not
        with self._lock:
            found = self._cards.get(key)
        if found is None:
            found = read_card(folder)
            with self._lock:
                if len(self._cards) >= MOST_KEPT:
                    self._cards.clear()
                self._cards[key] = found
        return found

    def state(self) -> Hashable:
        """Something that is different once a model or a release was added, or another is the latest."""
        models, releases = self._folder.models, self._folder.releases
        watched = [models, *_folders(models), releases, releases / INDEX_FILE]
        return (
            _target(models / LATEST),
            _target(releases / LATEST),
            *((path.name, _changed(path)) for path in watched),
        )

    def _published(self, run: str | None) -> Iterable[tuple[Path, ModelCard]]:
        runs = [self._folder.models / run] if run is not None else _folders(self._folder.models)
        for path in (path for one in runs for path in _folders(one) if path.name.startswith("round-")):
            with contextlib.suppress(InputError):  # what is no model is left out, as on the command line
                yield path, self.card(path)

    def _released(self) -> Iterable[tuple[ReleaseVersion, ModelCard]]:
        for path in _folders(self._folder.releases):
            with contextlib.suppress(InputError):
                yield parse_version(path.name), self.card(path)


def _folders(path: Path) -> list[Path]:
    """Folders in ``path``, neither hidden nor links."""
    try:
        return [
            each for each in path.iterdir() if each.name[0] != "." and each.is_dir() and not each.is_symlink()
        ]
    except OSError:
        return []


def _target(link: Path) -> str | None:
    try:
        return link.readlink().as_posix()
    except OSError:
        return None


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _pooled(card: ModelCard, target: str) -> float | None:
    found = card.ccc.get(target)
    return None if found is None or math.isnan(found.pooled) else found.pooled


def _model(card: ModelCard, is_latest: bool, versions: list[str]) -> ModelFacts:
    return ModelFacts(
        run=card.run,
        round=card.round,
        created=card.created,
        schema_name=card.schema_name,
        valence_ccc=_pooled(card, "valence"),
        arousal_ccc=_pooled(card, "arousal"),
        frames=sum(site.frames for site in card.sites),
        sites=len(card.sites),
        bytes=card.weights_bytes,
        sha256=card.sha256,
        is_latest=is_latest,
        releases=tuple(sorted(versions, key=parse_version)),
    )


def _release(path: Path, card: ModelCard, is_latest: bool) -> ReleaseFacts:
    names = (*FILE_LIMITS_BYTES, SUMS_FILE, SIGNATURE_FILE)
    return ReleaseFacts(
        version=path.name,
        run=card.run,
        round=card.round,
        created=card.release.created if card.release else card.created,
        schema_name=card.schema_name,
        valence_ccc=_pooled(card, "valence"),
        arousal_ccc=_pooled(card, "arousal"),
        is_latest=is_latest,
        files={name: (path / name).stat().st_size for name in names},
        sums_sha256=hashlib.sha256(read_bounded(path / SUMS_FILE, SUMS_LIMIT_BYTES)).hexdigest(),
    )
