"""A curve of one line of text, for terminals."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
ASCII: Final = "_.-=+*#@"


def sparkline(values: Sequence[float | None], width: int, signs: str = BLOCKS) -> str:
    """The values between their lowest and their highest, lowest sign to highest; a gap where one is None.

    More values than ``width`` are shown as the means of equal parts, so that the whole curve stays in sight.
    """
    shown = [_mean(part) for part in _parts(values, max(width, 1))]
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    step = (high - low) / (len(signs) - 1)
    middle = len(signs) // 2
    return "".join(
        " " if value is None else signs[round((value - low) / step) if step else middle] for value in shown
    ).rstrip()


def _parts(values: Sequence[float | None], count: int) -> list[Sequence[float | None]]:
    if len(values) <= count:
        return [[value] for value in values]
    edges = [place * len(values) // count for place in range(count + 1)]
    return [values[begin:end] for begin, end in pairwise(edges)]


def _mean(part: Sequence[float | None]) -> float | None:
    known = [value for value in part if value is not None]
    return sum(known) / len(known) if known else None
