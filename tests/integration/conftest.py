"""Federations of real processes on loopback, with sessions of noise: the path is real, the data is not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien_lab.benchmarks.rounds import write_trivial_session
from mien_lab.federation import Federation

Make = Callable[[int], Federation]
Standing = Callable[..., Federation]

_standing: list[Federation] = []


def made(folder: Path, sites: int) -> Federation:
    """A federation of so many enrolled sites, each with a session to train and one to test on."""
    federation = Federation(folder)
    names = [f"lab-{number}" for number in range(1, sites + 1)]
    federation.create(dict.fromkeys(names, 0.0))
    for seed, name in enumerate(names):
        sessions = federation.site(name) / "sessions"
        write_trivial_session(sessions, 10 + seed)
        write_trivial_session(sessions, 20 + seed, held_out=True)
    return federation


@pytest.fixture
def make_federation(tmp_path: Path) -> Iterator[Make]:
    """Makes federations that a test has for itself."""
    federations: list[Federation] = []

    def make(sites: int) -> Federation:
        federations.append(made(tmp_path / f"federation-{len(federations)}", sites))
        return federations[-1]

    yield make
    for federation in federations:
        federation.__exit__(None, None, None)


@pytest.fixture
def standing(tmp_path_factory: pytest.TempPathFactory) -> Standing:
    """One federation of ``lab-1`` to ``lab-4`` for all tests that leave its folders as they found them.

    Called with the names of the sites that a test needs there: they have joined, the others may have. To
    start a server and agents takes longer than most of these tests.
    """

    def with_sites(*names: str) -> Federation:
        if not _standing:
            _standing.append(made(tmp_path_factory.mktemp("standing"), 4))
            _standing[0].start("lab-1")
            _standing[0].wait_for("waiting server=", "lab-1")
            _standing[0].up()
            _standing[0].wait_for("joined", "lab-1")
        federation = _standing[0]
        gone = [name for name in names if not federation.is_running(name)]
        for name in gone:
            federation.log(name).unlink(missing_ok=True)
        federation.join(gone)
        return federation

    return with_sites


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """The standing federation ends with the last test that uses it."""
    if _standing and "standing" not in getattr(nextitem, "fixturenames", ()):
        _standing.pop().__exit__(None, None, None)
