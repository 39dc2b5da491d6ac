"""The registry: every published global model, and ``latest``.

Enters: weights and card of a round. Leaves: ``models/RUN/round-0001/`` and the relative link
``models/latest``, each whole or absent at any moment, also after a crash.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien_common.card import ModelCard, read_card
from mien_common.errors import ModelError
from mien_common.files import make_folder, storage_errors

if TYPE_CHECKING:
    from mien_common.weights import Weights

LATEST: Final = "latest"


@dataclass(frozen=True)
class PublishedModel:
    """One entry of the registry."""

    path: Path
    card: ModelCard
    is_latest: bool


def publish_round(models: Path, weights: "Weights", card: ModelCard) -> Path:
    """Publish the model of ``card.run``, ``card.round`` and point ``latest`` to it; its folder."""
    from mien_common.published import publish  # PyTorch, for which who only lists models need not wait

    folder = publish(round_folder(models, card.run, card.round), weights, card)
    _point_latest(models, folder)
    return folder


def round_folder(models: Path, run: str, round_: int) -> Path:
    """Where the model of a round is, or will be."""
    return models / run / f"round-{round_:04d}"


def mend_latest(models: Path, run: str, round_: int) -> None:
    """Point ``latest`` to this round's model if it points to another one of the same run, or nowhere.

    What is left to do of :func:`publish_round` when the process died in its middle. A later run's model stays
    the latest.
    """
    try:
        target = (models / LATEST).readlink()
    except OSError:
        target = Path(run)
    if target.parts[:1] == (run,) and target != Path(run, f"round-{round_:04d}"):
        _point_latest(models, round_folder(models, run, round_))


def list_models(models: Path) -> list[PublishedModel]:
    """Every published model, oldest first; folders that are no models are left out."""
    latest = (models / LATEST).resolve()
    found = []
    for folder in sorted(models.glob("[!.]*/round-*")):
        if not folder.parent.is_symlink():
            with contextlib.suppress(ModelError):
                found.append(PublishedModel(folder, read_card(folder), folder.resolve() == latest))
    return sorted(found, key=lambda model: (model.card.created, model.path))


def _point_latest(models: Path, folder: Path) -> None:
    make_folder(models)
    draft = models / f".{LATEST}.{os.getpid()}"
    with storage_errors(models / LATEST):
        draft.unlink(missing_ok=True)
        draft.symlink_to(folder.relative_to(models))
        draft.replace(models / LATEST)  # a rename: a reader sees the old model or the new one
