"""The newest global model a site received, kept for ``mien agent watch`` and ``mien agent predict``.

Enters: the weights of an evaluate order, which are a round's new global model. Stays here:
``models/round-<round>-<hash>/`` in the form every published model has, and the link ``models/newest``.
Nothing leaves: these weights came from the server.
"""

import hashlib
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mien_common.architecture import Architecture
from mien_common.errors import MienError, ModelError
from mien_common.files import make_folder, remove_old_drafts, storage_errors
from mien_common.messages import RoundOrder
from mien_common.network import AffectNetwork
from mien_common.published import ModelCard, publish, read_card, read_published
from mien_common.schema import AU_V1
from mien_common.versions import versions
from mien_common.weights import Weights, network_from, to_safetensors

from .model_uses import check_live
from .site import Site

log = logging.getLogger(__name__)

NEWEST: Final = "newest"
ABANDONED_AFTER_S: Final = 3600.0
READ_TRIES: Final = 5
"""A newer model may take the place of the one that is just being read."""


def newest_model(site: Site) -> Path:
    """Where the newest model lies, once there is one."""
    return site.models / NEWEST


def keep_newest(site: Site, order: RoundOrder, weights: Weights, run_id: int, sent_s: float) -> None:
    """Keep the global model of ``order``, unless the one that is here is as new.

    A model that cannot be kept is a warning in the log, never the end of a round.

    Parameters
    ----------
    run_id : Flower's number of the run; it names the run where the server does not.
    sent_s : when the server sent the order, seconds since 1970.
    """
    run = order.run or str(run_id)
    created = datetime.fromtimestamp(sent_s, UTC).isoformat(timespec="milliseconds")
    card = ModelCard(
        schema_name=order.schema_name,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        architecture=order.architecture,
        run=run,
        round=order.round,
        created=created,
        sites=(),  # who took part and how well it does, the server's own card says; a site is not told
        ccc={},
        weights_bytes=0,
        versions=versions(),
        sha256="0" * 64,
    )
    try:
        _keep(site.models, weights, card)
    except (MienError, OSError) as error:
        log.warning("model not kept run=%s round=%d reason=%s", run, order.round, error)


def read_newest(model: Path) -> tuple[ModelCard, Weights] | None:
    """Card and weights of the model that ``model``, a folder or a link to one, leads to; None where none is.

    Raises
    ------
    ModelError
        It is damaged, or of another schema.
    """
    for attempt in range(1, READ_TRIES + 1):
        version = version_of(model)
        if version is None:
            return None
        try:
            return read_published(version)
        except ModelError:
            if attempt == READ_TRIES or version_of(model) == version:
                raise
    return None


class ModelFeed:
    """The newest model at a place to watch with, when there is another one than last time.

    Parameters
    ----------
    place : a published model's folder, or the link to the newest one of a site; None for never any.
    """

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self._known: Path | None = None
        self._refused: tuple[str, Architecture] | None = None

    def look(self) -> tuple[ModelCard, AffectNetwork] | None:
        """A model that was not there at the last look.

        Raises
        ------
        ModelError
            It is damaged or of another schema: said once, until there is yet another. Or it cannot be watched
            live: said once a run, whose every round brings another.
        """
        if self._place is None:
            return None
        version = version_of(self._place)
        if version is None or version == self._known:
            return None
        self._known = version
        found = read_newest(self._place)
        if found is None:
            return None
        card, weights = found
        if not card.architecture.streams:
            if self._refused == (card.run, card.architecture):
                return None
            self._refused = (card.run, card.architecture)
            check_live(card, version)
        return card, network_from(weights, card.architecture)


def version_of(model: Path) -> Path | None:
    """The folder that ``model`` leads to at this moment, another one for each model; None where none is."""
    try:
        return model.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a link to itself
        return None


def _keep(models: Path, weights: Weights, card: ModelCard) -> None:
    make_folder(models, mode=0o700)
    remove_old_drafts(models, ABANDONED_AFTER_S)
    digest = hashlib.sha256(to_safetensors(weights)).hexdigest()
    if not _is_newer(card.created, digest, models / NEWEST):
        return
    folder = models / f"round-{card.round:04d}-{digest[:8]}"
    if folder.exists():  # an agent that died before it could set the link
        shutil.rmtree(folder)
    publish(folder, weights, card)
    draft = models / f".{NEWEST}.{os.getpid()}"
    with storage_errors(models / NEWEST):
        draft.unlink(missing_ok=True)
        draft.symlink_to(folder.name)
        draft.replace(models / NEWEST)  # a rename: a reader sees the old model or the new one
    for other in models.glob("round-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _is_newer(created: str, sha256: str, kept: Path) -> bool:
    """By the server's clock; a run's name says nothing, a server set up anew begins with the same ones."""
    if version_of(kept) is None:
        return True
    try:
        known = read_card(kept)
        known_created = datetime.fromisoformat(known.created).astimezone(UTC)
    except (ModelError, ValueError):  # a damaged one is better replaced
        return True
    if known.sha256 == sha256:  # an order that was sent again
        return False
    # A card from the future is of a server whose clock was wrong: it must not shut the others out.
    return datetime.fromisoformat(created) > known_created or known_created > datetime.now(UTC)
