"""A published model: whole, checked, and refused when anything about it differs."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from mien_common.architecture import Architecture
from mien_common.errors import InputError, ModelError, StorageError
from mien_common.network import build
from mien_common.published import Agreement, Contribution, ModelCard, publish, read_card, read_published
from mien_common.schema import AU_V1
from mien_common.weights import to_safetensors, weights_of

SMALL = Architecture(hidden_units=4, layers=1)
WEIGHTS = weights_of(build(SMALL, seed=1))
CARD = ModelCard(
    schema_name=AU_V1.name,
    channels=AU_V1.channels,
    rate_hz=AU_V1.rate_hz,
    architecture=SMALL,
    run="17",
    round=3,
    created="2026-11-23T08:00:00+00:00",
    sites=(Contribution(site="site-1", frames=100),),
    ccc={"valence": Agreement(mean_over_recordings=0.5, pooled=math.nan)},
    weights_bytes=0,
    versions={"mien": "0.1.0"},
    sha256="0" * 64,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return publish(tmp_path / "round-0003", WEIGHTS, CARD)


def edit_card(model: Path, **changes: Any) -> None:
    """The card with some fields changed; None takes a field out."""
    card = json.loads((model / "card.json").read_text()) | changes
    kept = {name: value for name, value in card.items() if value is not None}
    (model / "card.json").write_text(json.dumps(kept))


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_what_is_published_can_be_read(model: Path, name: str) -> None:
    card, weights = read_published(model / name if name else model)
    assert all(np.array_equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)
    assert (card.run, card.round, card.sites, card.architecture) == ("17", 3, CARD.sites, SMALL)
    assert card.ccc["valence"].mean_over_recordings == 0.5
    assert math.isnan(card.ccc["valence"].pooled)


def test_the_card_is_plain_json_that_names_the_files_hash_and_size(model: Path) -> None:
    content = (model / "model.safetensors").read_bytes()
    card = json.loads((model / "card.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["weights_bytes"] == len(content)
    assert card["ccc"]["valence"]["pooled"] is None


def test_the_weights_open_without_mien(model: Path) -> None:
    opened = safetensors.numpy.load_file(model / "model.safetensors")
    assert {name: array.shape for name, array in opened.items()} == {
        name: array.shape for name, array in WEIGHTS.items()
    }


def test_a_published_model_is_never_replaced(model: Path) -> None:
    with pytest.raises(StorageError, match="exists already"):
        publish(model, WEIGHTS, CARD)


def test_a_full_disk_leaves_no_half_written_model(small_disk: Path) -> None:
    large = Architecture(hidden_units=64, layers=4)
    with pytest.raises(StorageError, match="No space left on device"):
        publish(small_disk / "round-0001", weights_of(build(large, seed=1)), CARD)
    assert list(small_disk.iterdir()) == []


def _flip_a_weight(model: Path) -> None:
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _cut_the_weights(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def _other_weights(model: Path) -> None:
    content = to_safetensors(weights_of(build(Architecture(hidden_units=5), seed=1)))
    (model / "model.safetensors").write_bytes(content)
    edit_card(model, sha256=hashlib.sha256(content).hexdigest())


def _network_of_other_inputs(model: Path) -> None:
    """A card that is in order in every part, for a network that takes 41 channels."""
    architecture = Architecture(channels=41, hidden_units=4, layers=1)
    content = to_safetensors(weights_of(build(architecture, seed=1)))
    (model / "model.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_card(model, sha256=digest, architecture=architecture.model_dump())


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped bit": (_flip_a_weight, "does not match its card's sha256"),
    "cut weights": (_cut_the_weights, "does not match its card's sha256"),
    "other network": (_other_weights, "weights cannot be used"),
    "other inputs": (_network_of_other_inputs, "41 channels"),
    "no weights": (lambda model: (model / "model.safetensors").unlink(), r"cannot read .*model\.safetensors"),
    "no card": (lambda model: (model / "card.json").unlink(), r"no usable card\.json"),
    "cut card": (lambda model: (model / "card.json").write_text("{"), "not a card Mien wrote"),
    "empty card": (lambda model: (model / "card.json").write_bytes(b""), "not a card Mien wrote"),
    "binary card": (lambda model: (model / "card.json").write_bytes(b"\xff\xfe\0"), "not a card Mien wrote"),
    "huge card": (lambda model: (model / "card.json").write_bytes(b" " * 2**21), "larger than 1048576 bytes"),
    "unknown field": (lambda model: edit_card(model, comment="hello"), "not a card Mien wrote"),
    "field missing": (lambda model: edit_card(model, run=None), "not a card Mien wrote"),
    "hash is no hash": (lambda model: edit_card(model, sha256="../../x"), "not a card Mien wrote"),
    "other schema": (
        lambda model: edit_card(model, schema_name="au-v2"),
        r"trained on the schema 'au-v2', this agent makes 'au-v1'\. Use a model of 'au-v1'",
    ),
    "other channels": (lambda model: edit_card(model, channels=["AU01_r"]), "trained on the schema"),
    "other rate": (lambda model: edit_card(model, rate_hz=50.0), "trained on the schema"),
    "other targets": (
        lambda model: edit_card(model, targets=["arousal", "valence"]),
        "trained on the schema",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_model_that_is_not_whole_and_ours_is_refused(model: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    damage(model)
    with pytest.raises(ModelError, match=message):
        read_published(model)


def test_a_path_that_is_no_model_is_refused(model: Path) -> None:
    with pytest.raises(ModelError, match="there is no model at"):
        read_published(model / "absent")
    with pytest.raises(ModelError, match=r"is not a model: give a published model's folder"):
        read_published(model / "card.json")
    with pytest.raises(ModelError, match=r"no usable card\.json"):
        read_published(model.parent)
    with pytest.raises(InputError, match="File name too long"):
        read_published(Path("m" * 300))


def test_a_card_alone_can_be_read(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert read_card(model).run == "17"
