"""The directed test: with the puppet, the action unit that is driven answers, and no other does."""

import csv
import io

import cv2
import numpy as np
import pytest
from rich.console import Console

from mien_lab import au_response
from mien_lab.au_response import BOUND, CONDITIONS, COUPLED, EXPERIMENTAL_UNITS, Condition, Response
from mien_lab.au_response_screen import show
from mien_lab.puppet_units import UNITS


@pytest.fixture(scope="module")
def responses() -> list[Response]:
    return au_response.measure_responses()


@pytest.mark.parametrize("number", range(len(CONDITIONS)), ids=[condition.name for condition in CONDITIONS])
def test_the_driven_unit_answers_and_no_other(responses: list[Response], number: int) -> None:
    rivals = responses[number].rivals()
    assert len(rivals) == 16
    weak = {f"AU{unit}": found for unit, found in rivals.items() if found[0] <= BOUND}
    assert not weak, f"(times its strongest rival, the rival): {weak}"


@pytest.mark.parametrize("number", range(len(CONDITIONS)), ids=[condition.name for condition in CONDITIONS])
def test_a_driven_unit_shows_clearly(responses: list[Response], number: int) -> None:
    counts = [row for row, unit in enumerate(UNITS) if unit not in EXPERIMENTAL_UNITS]
    answers = np.diagonal(responses[number].matrix)[counts]
    assert (answers > 1.0).all(), answers.round(2)


def test_the_head_is_turned_as_far_as_it_is_said(responses: list[Response]) -> None:
    yaw = {response.condition.name: response.yaw_deg for response in responses}
    assert yaw == pytest.approx(
        {"frontal": 0.0, "yaw −20°": -20.0, "yaw +20°": 20.0, "66 px": 0.0, "300 px": 0.0}, abs=2.0
    )


def test_no_more_is_excused_than_answers(responses: list[Response]) -> None:
    for unit, others in COUPLED.items():
        for other in others:
            row, column = UNITS.index(unit), UNITS.index(other)
            shares = [
                float(response.matrix[row, column] / response.matrix[row, row]) for response in responses
            ]
            assert max(shares) * BOUND > 1.0, f"AU{unit} → AU{other} needs no excuse: {shares}"


def test_the_figures_say_what_was_measured(responses: list[Response]) -> None:
    rows = list(csv.DictReader(io.StringIO(au_response.as_csv(responses).decode())))
    assert len(rows) == len(CONDITIONS) * 18
    smile = next(row for row in rows if row["condition"] == "66 px" and row["driven"] == "12")
    here = UNITS.index(12)
    assert float(smile["AU12_r"]) == pytest.approx(responses[3].matrix[here, here], abs=1e-3)
    picture = cv2.imdecode(np.frombuffer(au_response.heat_map(responses), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] > 1000


def test_a_unit_that_does_not_pass_is_named() -> None:
    matrix = np.diag(np.full(17, 3.0))
    matrix[UNITS.index(4), UNITS.index(9)] = 1.5
    matrix[UNITS.index(26), UNITS.index(25)] = 5.0  # coupled
    matrix[UNITS.index(12), UNITS.index(14)] = 5.0  # experimental
    made_up = Response(Condition("made up"), 0.0, np.zeros(17), matrix)
    printed = io.StringIO()
    assert not show([made_up], Console(file=printed, width=120))
    missed = [line for line in printed.getvalue().splitlines() if line.startswith("MISSED")]
    assert missed == ["MISSED: made up: AU4 2.0 times AU9"]
