"""How tests wait: for a condition, and never for a while."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 60.0
"""A process may have to start, on a machine with better things to do."""


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return once ``condition`` holds; ``what`` says what did not happen where it never does."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, f"{what}, not within {patience_s:g} s"
        time.sleep(0.02)
