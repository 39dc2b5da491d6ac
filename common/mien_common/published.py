"""A published model: a folder with ``model.safetensors`` and the ``card.json`` that explains it.

The server writes it after every round; an agent reads it to predict.
"""

import hashlib
from pathlib import Path
from typing import Final

from mien_common.card import (
    CARD_FILE,
    CARD_LIMIT_BYTES,
    WEIGHTS_FILE,
    Agreement,
    Contribution,
    ModelCard,
    ReleaseFacts,
    SiteAgreement,
    read_card,
)
from mien_common.errors import InputError, ModelError
from mien_common.files import is_there, new_folder, read_bounded, write_atomic
from mien_common.schema import AU_V1, TARGETS
from mien_common.weights import Weights, from_safetensors, to_safetensors

WEIGHTS_LIMIT_BYTES: Final = 512 * 1024 * 1024

__all__ = [
    "CARD_FILE",
    "CARD_LIMIT_BYTES",
    "WEIGHTS_FILE",
    "WEIGHTS_LIMIT_BYTES",
    "Agreement",
    "Contribution",
    "ModelCard",
    "ReleaseFacts",
    "SiteAgreement",
    "publish",
    "read_card",
    "read_published",
]


def publish(folder: Path, weights: Weights, card: ModelCard) -> Path:
    """Write ``folder`` with weights and card, whole or not at all; its path.

    ``card.weights_bytes`` and ``card.sha256`` are filled in here.
    """
    content = to_safetensors(weights)
    digest = hashlib.sha256(content).hexdigest()
    sealed = card.model_copy(update={"weights_bytes": len(content), "sha256": digest})
    with new_folder(folder) as draft:
        write_atomic(draft / WEIGHTS_FILE, content)
        write_atomic(draft / CARD_FILE, sealed.model_dump_json(indent=2).encode() + b"\n")
    return folder


def read_published(path: Path) -> tuple[ModelCard, Weights]:
    """Card and weights of a published model, checked.

    Parameters
    ----------
    path : the model's folder, or the ``model.safetensors`` in it.

    Raises
    ------
    ModelError
        Something is missing or damaged, the hash differs, or the schema is not ours.
    """
    if not is_there(path):
        raise ModelError(
            f"there is no model at {path}. Its operator finds the published ones with `mien server models`."
        )
    if path.is_file() and path.name != WEIGHTS_FILE:
        raise ModelError(f"{path} is not a model: give a published model's folder or its {WEIGHTS_FILE}.")
    folder = path if path.is_dir() else path.parent
    card = read_card(folder)
    schema = (card.schema_name, card.channels, card.rate_hz, card.targets)
    if schema != (AU_V1.name, AU_V1.channels, AU_V1.rate_hz, TARGETS):
        raise ModelError(
            f"the model in {folder} was trained on the schema {card.schema_name!r}, this agent makes "
            f"{AU_V1.name!r}. Use a model of {AU_V1.name!r}, or an agent of the model's version."
        )
    if card.architecture.channels != len(AU_V1.channels):
        raise ModelError(
            f"the model in {folder} takes {card.architecture.channels} channels, its schema has "
            f"{len(AU_V1.channels)}. Fetch the model again."
        )
    try:
        content = read_bounded(folder / WEIGHTS_FILE, WEIGHTS_LIMIT_BYTES)
    except InputError as error:
        raise ModelError(f"{error}. Fetch the whole model folder.") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ModelError(f"{folder / WEIGHTS_FILE} does not match its card's sha256. Fetch the model again.")
    return card, from_safetensors(content, card.architecture)
