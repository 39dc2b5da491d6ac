"""A listener of ours in a thread of the tests."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from mien_server.web.listener import run

PATIENCE_S = 60.0


@contextmanager
def running(server: uvicorn.Server) -> Iterator[None]:
    """It answers from here on, until the block ends."""
    thread = threading.Thread(target=run, args=(server,))
    thread.start()
    try:
        end = time.monotonic() + PATIENCE_S
        while not server.started:
            assert thread.is_alive(), "it did not start"
            assert time.monotonic() < end
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=PATIENCE_S)
    assert not thread.is_alive(), "it did not end"
