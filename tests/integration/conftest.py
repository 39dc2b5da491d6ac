"""Federations of real processes on loopback, with sessions of noise: the path is real, the data is not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien_lab.benchmarks.rounds import write_trivial_session
from mien_lab.federation import Federation

Make = Callable[[int], Federation]


@pytest.fixture
def make_federation(tmp_path: Path) -> Iterator[Make]:
    """Makes a federation of so many enrolled sites, each with a session to train and one to test on."""
    made: list[Federation] = []

    def make(sites: int) -> Federation:
        federation = Federation(tmp_path / f"federation-{len(made)}")
        made.append(federation)
        names = [f"lab-{number}" for number in range(1, sites + 1)]
        federation.create(dict.fromkeys(names, 0.0))
        for seed, name in enumerate(names):
            sessions = federation.site(name) / "sessions"
            write_trivial_session(sessions, 10 + seed)
            write_trivial_session(sessions, 20 + seed, held_out=True)
        return federation

    yield make
    for federation in made:
        federation.__exit__(None, None, None)
