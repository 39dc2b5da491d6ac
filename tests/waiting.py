"""How tests wait: for a condition, and never for a while."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 120.0
"""A process may have to start, on a machine with better things to do."""


def wait_until(
    condition: Callable[[], object],
    what: str = "it did not happen",
    patience_s: float = PATIENCE_S,
    every_s: float = 0.02,
) -> None:
    """Return once ``condition`` holds; ``what`` is said where it does not in time."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, f"{what}, waited {patience_s:g} s"
        time.sleep(every_s)
