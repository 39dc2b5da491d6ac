"""A published model: a folder with ``model.safetensors`` and the ``card.json`` that explains it.

The server writes it after every round; an agent reads it to predict.
"""

import hashlib
import math
from pathlib import Path
from typing import Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_serializer,
    field_validator,
)

from mien_common.architecture import Architecture
from mien_common.errors import InputError, ModelError
from mien_common.files import is_there, new_folder, read_bounded, write_atomic
from mien_common.schema import AU_V1, TARGETS
from mien_common.site_name import SiteName
from mien_common.weights import Weights, from_safetensors, to_safetensors

WEIGHTS_FILE: Final = "model.safetensors"
CARD_FILE: Final = "card.json"
WEIGHTS_LIMIT_BYTES: Final = 512 * 1024 * 1024
CARD_LIMIT_BYTES: Final = 1024 * 1024


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Agreement(_Part):
    """CCC on held-out recordings, by both rules; NaN (``null`` in the file) where it is undefined."""

    mean_over_recordings: float
    """AVEC's rule: CCC of each recording, then the mean."""
    pooled: float
    """CCC over all frames together."""

    @field_validator("mean_over_recordings", "pooled", mode="before")
    @classmethod
    def _from_null(cls, value: float | None) -> float:
        return float("nan") if value is None else value

    @field_serializer("mean_over_recordings", "pooled")
    def _to_null(self, value: float) -> float | None:
        return None if math.isnan(value) else value


class SiteAgreement(Agreement):
    """The same at one site."""

    site: SiteName


class Contribution(_Part):
    """One site's part in a round."""

    site: SiteName
    frames: int = Field(ge=0)


class ReleaseFacts(_Part):
    """What the card of a release says besides."""

    version: str
    created: str
    """UTC, ISO 8601."""
    opset: int
    """Of ``model.onnx``."""
    mechanism: str | None = None
    """What made the training differentially private; None where nothing did."""
    epsilon: float | None = None
    """Privacy spent; None where there is no mechanism."""
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """The run's settings; empty where they are not known any more."""


class ModelCard(_Part):
    """Everything another machine must know to use the weights, and where they come from."""

    schema_name: str
    channels: tuple[str, ...]
    rate_hz: float
    targets: tuple[str, ...] = TARGETS
    architecture: Architecture
    run: str
    round: int = Field(ge=0)
    created: str
    """UTC, ISO 8601."""
    sites: tuple[Contribution, ...]
    ccc: dict[str, Agreement]
    """By target, on the sites' held-out recordings."""
    worst_site: dict[str, SiteAgreement] = Field(default_factory=dict)
    """By target, the site with the lowest pooled CCC; empty where no site's CCC is known."""
    weights_bytes: int = Field(ge=0)
    versions: dict[str, str]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the safetensors file."""
    release: ReleaseFacts | None = None
    """None in the card of a round."""


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


def read_card(folder: Path) -> ModelCard:
    """The card of a published model.

    Raises
    ------
    ModelError
        It is missing or damaged.
    """
    try:
        return ModelCard.model_validate_json(read_bounded(folder / CARD_FILE, CARD_LIMIT_BYTES))
    except (InputError, ValidationError) as error:
        reason = error if isinstance(error, InputError) else "it is not a card Mien wrote"
        raise ModelError(
            f"no usable {CARD_FILE} in {folder}: {reason}. Fetch the whole model folder."
        ) from error


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
