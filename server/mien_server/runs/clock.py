"""Time, passed in so that tests need not wait."""

from typing import Protocol


class Clock(Protocol):
    """What is asked of Python's ``time``."""

    def monotonic(self) -> float:
        """Seconds since some moment."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        ...
