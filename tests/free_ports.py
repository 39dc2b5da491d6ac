"""Ports for servers of the tests, which nobody else takes between being chosen and being listened on."""

import itertools
import os
import socket
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
FIRST, EACH = 12_000, 5_000
"""Below the ports that the kernel gives to whoever asks for any; a part for each of four processes."""


def _candidates() -> Iterator[int]:
    """Every port of this process's part, round and round, from another place than the process before it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    for number in itertools.count(7 * os.getpid()):
        yield FIRST + EACH * worker + number % EACH


_next = _candidates()


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback that nobody uses."""
    found: list[int] = []
    while len(found) < count:
        port = next(_next)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:  # somebody has it
                continue
        found.append(port)
    return found
