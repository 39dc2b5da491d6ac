"""What the two sides say to each other, inside Flower messages.

Server to site: a :class:`RoundOrder` and the global weights. Site to server: a
:class:`TrainReport` with the weight update, or an :class:`EvaluateReport` with the sufficient
statistics of its held-out recordings. Every one is a small JSON document, validated where it
enters; nothing else of a site's travels.
"""

from typing import Annotated, Final, TypeVar

from flwr.app import ConfigRecord, RecordDict
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mien_common.architecture import Architecture
from mien_common.ccc import Moments
from mien_common.errors import FederationError
from mien_common.schema import AU_V1, LONGEST_FRAMES
from mien_common.site_name import SiteName
from mien_common.training_settings import TrainingSettings as TrainingSettings

MESSAGE_LIMIT_BYTES: Final = 256 * 1024
"""Largest JSON document either side reads."""

ARRAYS: Final = "arrays"
METRICS: Final = "metrics"
DOCUMENT: Final = "document"
"""Keys of the records inside a Flower message."""

NUM_EXAMPLES: Final = "num-examples"
"""The metric Flower's FedAvg weights updates by: valid, rated training frames."""

FEWEST_FRAMES: Final = 25
"""Recordings with less than a second of counted frames are not reported: their sums would tell frames."""

FRAMES_LIMIT: Final = 10**12
"""Most frames that a site can train on in a round: a thousand years of video."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RoundOrder(_Document):
    """What the server asks of a site in one round."""

    schema_name: str = AU_V1.name
    architecture: Architecture = Architecture()
    run: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9._-]*$")
    """The run's name at the server; a site names the models it keeps by it."""
    round: int = Field(ge=0, le=1_000_000)
    seed: int = Field(ge=0, lt=2**63)
    training: TrainingSettings = TrainingSettings()


class TrainReport(_Document):
    """What a site says of its training, beside the update itself."""

    site: SiteName
    round: int
    frames: int = Field(gt=0, le=FRAMES_LIMIT)
    """Valid, rated frames trained on."""
    loss: Finite
    """Mean of the loss over the last local epoch's batches."""
    update_norm: Finite = Field(ge=0)
    seconds: Finite = Field(ge=0)
    device: str = Field(max_length=64)
    version: str = Field(max_length=32)
    bytes_down: int = Field(ge=0)
    """Size of the order and weights this site received, bytes."""
    bytes_up: int = Field(ge=0)
    """Size of the update's arrays, bytes."""


class RecordingMoments(_Document):
    """Sufficient statistics of one held-out recording: prediction x against rating y."""

    valence: Moments
    arousal: Moments

    @field_validator("valence", "arousal")
    @classmethod
    def _possible(cls, value: Moments) -> Moments:
        if not FEWEST_FRAMES <= value.n <= LONGEST_FRAMES:
            raise ValueError(f"a frame count outside {FEWEST_FRAMES} to {LONGEST_FRAMES}")
        numbers = (value.x, value.y, value.xx, value.yy, value.xy)
        # Predictions and ratings lie in [−1, 1]; no honest sum can pass its frame count.
        if not all(abs(number) <= value.n + 1e-6 for number in numbers):
            raise ValueError("a sum is not finite or larger than its frame count allows")
        if value.xx < 0 or value.yy < 0:
            raise ValueError("a sum of squares is negative")
        return value


class EvaluateReport(_Document):
    """What a site says of the global model on its held-out recordings."""

    site: SiteName
    round: int
    recordings: tuple[RecordingMoments, ...] = Field(max_length=1000)
    seconds: Finite = Field(ge=0)
    bytes_down: int = Field(ge=0)


Document = TypeVar("Document", bound=_Document)


def pack(document: _Document) -> ConfigRecord:
    """The record that carries ``document`` in a Flower message."""
    return ConfigRecord({"json": document.model_dump_json()})


def unpack(content: RecordDict, kind: type[Document]) -> Document:
    """The document inside a Flower message.

    Raises
    ------
    FederationError
        It is absent, not alone in its record, too large, or does not validate.
    """
    record = content.get(DOCUMENT)
    text = record["json"] if isinstance(record, ConfigRecord) and set(record) == {"json"} else None
    if not isinstance(text, str) or len(text.encode(errors="replace")) > MESSAGE_LIMIT_BYTES:
        raise FederationError(f"a message without a readable {kind.__name__}; do both sides run one version?")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise FederationError(
            f"a {kind.__name__} that does not hold: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        ) from error
