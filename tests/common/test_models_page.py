"""``docs/models.md`` says what the models are: its parameter counts and its configuration hold."""

import math
import re
import tomllib
from pathlib import Path

import pytest

from mien_common.architecture import Architecture
from mien_common.network import normalisation_arrays
from mien_common.weights import shapes_of

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


def parameters(architecture: Architecture) -> int:
    return sum(math.prod(shape) for shape in shapes_of(architecture).values())


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_every_variant_has_as_many_parameters_as_the_table_says(kind: str) -> None:
    row = re.search(rf"^\| {kind.upper()} \|([0-9, |]+)\|$", PAGE, re.MULTILINE)
    assert row is not None
    said = [int(number.replace(",", "")) for number in row[1].split("|")]
    assert said == [
        parameters(Architecture.model_validate({"kind": kind, "bidirectional": both, "residual": residual}))
        for residual in (False, True)
        for both in (False, True)
    ]


def test_what_normalisation_and_residual_blocks_add() -> None:
    plain, normed, residual = (
        Architecture(),
        Architecture(input_norm=True),
        Architecture(residual=True),
    )
    blocks = parameters(residual) - parameters(plain)
    shapes = shapes_of(residual)
    norms = sum(math.prod(shapes[name]) for name in normalisation_arrays(residual))
    assert f"`input_norm` adds {parameters(normed) - parameters(plain)}." in PAGE
    assert f"all but {norms} of {blocks:,} are the four convolutions" in PAGE


def test_the_configuration_on_the_page_is_a_models() -> None:
    block = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    (model,) = tomllib.loads(block[1])["models"]
    assert Architecture.model_validate(model["architecture"]) == Architecture(
        kind="lstm", bidirectional=True, residual=True
    )
