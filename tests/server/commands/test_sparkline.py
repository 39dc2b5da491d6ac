"""A curve in one line: its ends, its gaps, and all of it however narrow the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien_server.commands.sparkline import ASCII, BLOCKS, sparkline

numbers = st.floats(-1e6, 1e6)


def test_rises_from_the_lowest_sign_to_the_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20) == BLOCKS
    assert sparkline([7, 6, 5, 4, 3, 2, 1, 0], 20, ASCII) == ASCII[::-1]


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_nothing_known_is_nothing_shown(values: list[float | None]) -> None:
    assert sparkline(values, 10) == ""


def test_a_gap_stays_a_gap() -> None:
    assert sparkline([0.0, None, 1.0], 10) == "▁ █"


def test_a_flat_curve_is_in_the_middle() -> None:
    assert sparkline([0.3, 0.3], 10) == "▅▅"


def test_a_long_curve_is_whole_in_few_signs() -> None:
    assert sparkline([float(value) for value in range(800)], 8) == BLOCKS
    assert sparkline([0.0] * 700 + [1.0] * 100, 8) == "▁▁▁▁▁▁▁█"


@given(st.lists(numbers | st.none(), max_size=60), st.integers(-3, 70))
def test_never_wider_than_asked_for(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width)) <= max(width, 1)


@given(st.lists(numbers, min_size=2, max_size=60))
def test_a_higher_value_never_has_a_lower_sign(values: list[float]) -> None:
    heights = [BLOCKS.index(sign) for sign in sparkline(values, 60)]
    assert all(
        height <= other
        for value, height in zip(values, heights, strict=True)
        for beside, other in zip(values, heights, strict=True)
        if value < beside
    )
