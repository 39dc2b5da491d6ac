"""The card of a published model, ``card.json``: all that another machine must know of the weights beside it.

Apart from :mod:`mien_common.published` so that who only lists models need not load PyTorch.
"""

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
from mien_common.files import read_bounded
from mien_common.schema import TARGETS
from mien_common.site_name import SiteName

WEIGHTS_FILE: Final = "model.safetensors"
CARD_FILE: Final = "card.json"
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
