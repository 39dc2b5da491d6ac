"""Where the server's commands log to, and how a signal ends them."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def log_to_stderr() -> None:
    """One structured line per event on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("mien_server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


_came: list[int] = []
_holding: list[bool] = []


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Hold KeyboardInterrupt back while a process is started: Python drops one raised during a fork.

    What came meanwhile is raised by the next :func:`raise_if_interrupted`.
    """
    _holding.append(True)
    try:
        yield
    finally:
        _holding.pop()


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt again if a signal came: Python drops one raised in a finaliser or callback.

    For the loops of long commands.
    """
    if _came:
        raise KeyboardInterrupt


def interrupt_on_signals() -> None:
    """Let SIGTERM end a command as Ctrl-C does, so that both clean up.

    SIGINT is set too: a shell starts its background jobs with SIGINT ignored.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        _came.append(number)
        if not _holding:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
