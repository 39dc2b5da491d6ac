"""What a status says of a run that ended after the recorder did: its server was killed, and both with it."""

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from mien_server.facts import RunFacts
from mien_server.folder import ServerFolder
from mien_server.runs.journal import Journal
from mien_server.runs.queue import append
from mien_server.runs.record import GONE
from mien_server.runs.settings import RunSettings, create_run
from mien_server.status import Past, read_status

from .made_facts import NOW, made_run


@pytest.fixture
def run(folder: ServerFolder) -> Path:
    """A run of four rounds so far."""
    settings = RunSettings.model_validate({"rounds": 20, "quorum": 2})
    path = create_run(folder, settings, dt.datetime.fromisoformat(NOW))
    append(path, "started", run=path.name, rounds=20, rule="fedavg", quorum=2, enrolled=[])
    ccc = {target: {"pooled": 0.5, "mean_over_recordings": 0.4} for target in ("valence", "arousal")}
    append(path, "round", round=4, rounds=20, ccc=ccc)
    return path


def current(folder: ServerFolder, run: Path) -> RunFacts:
    """The history knows of three rounds, and of no end."""
    known = made_run(run=run.name, rounds_done=3, valence_ccc=0.31, ended=None)
    past = SimpleNamespace(
        **{name: lambda *_, **__: [] for name in ("sites", "rounds", "releases")},
        runs=lambda _limit: [known],
        run=lambda _name: known,
        last_event=lambda: 0,
        seen=lambda: None,
        database="sqlite",
    )
    found = read_status(folder, cast(Past, past), dt.datetime.fromisoformat(NOW)).run
    assert found is not None
    return found


def test_it_was_stopped_with_its_server(folder: ServerFolder, run: Path) -> None:
    append(run, "stopped", run=run.name, reason="its server ended")
    found = current(folder, run)
    assert (found.state, found.reason, found.rounds_done) == ("stopped", "its server ended", 4)
    assert found.valence_ccc == 0.5
    assert found.ended is not None, "else an older run would be shown in its place"


def test_it_died_without_a_word(folder: ServerFolder, run: Path) -> None:
    found = current(folder, run)
    assert (found.state, found.reason, found.rounds_done) == ("died", GONE, 4)
    assert found.ended is not None


def test_its_journal_is_damaged(folder: ServerFolder, run: Path) -> None:
    with (run / "rounds.jsonl").open("a") as journal:
        journal.write("{\n")
    found = current(folder, run)
    assert (found.state, found.rounds_done) == ("died", 3)


def test_it_goes_on_though_its_server_is_gone(folder: ServerFolder, run: Path) -> None:
    journal = Journal(run)
    assert current(folder, run).state == "running"
    journal.close()
