"""How a run's own process ends a run that went wrong: in words, without the paths of the server."""

import datetime as dt
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mien_common.errors import FederationError, MienError, StorageError
from mien_server.folder import SERVER_DIR_VARIABLE, ServerFolder
from mien_server.runs.journal import JournalReader
from mien_server.runs.queue import read_ticket, submit, write_ticket
from mien_server.runs.rounds import Rounds
from mien_server.runs.settings import RunSettings
from mien_server.server_app import main


@pytest.fixture
def run(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A run that Flower has started as its number 1."""
    monkeypatch.setattr("mien_server.server_app.quicken_grid", lambda: None)  # it would outlast the test
    monkeypatch.setenv(SERVER_DIR_VARIABLE, str(folder.path))
    name = submit(folder, RunSettings.model_validate({"rounds": 1, "quorum": 1}), dt.datetime.now(dt.UTC))
    ticket = read_ticket(folder, name)
    assert ticket is not None
    write_ticket(folder, ticket.model_copy(update={"flower_run": 1}))
    before = list(logging.getLogger().handlers)
    yield name
    for handler in logging.getLogger().handlers[:]:
        if handler not in before:
            logging.getLogger().removeHandler(handler)
            handler.close()


def conducted(run: str) -> None:
    grid: Any = None
    context: Any = SimpleNamespace(run_config={"run": run}, run_id=1)
    main(grid, context)


def last_of(folder: ServerFolder, run: str) -> dict[str, Any]:
    return list(JournalReader(folder.runs / run).new())[-1]


def test_too_few_sites(folder: ServerFolder, run: str) -> None:
    with pytest.raises(FederationError, match="only 0 are enrolled"):
        conducted(run)
    assert last_of(folder, run)["event"] == "failed"
    assert "mien server invite" in last_of(folder, run)["error"], "what to do next"


@pytest.mark.parametrize("how", [StorageError, RuntimeError])
def test_a_path_of_the_server_is_told_from_its_folder_on(
    folder: ServerFolder, run: str, how: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Rounds) -> None:
        raise how(
            f"cannot write {folder.runs / run / 'state'}: No space left on device; {folder.path} is full"
        )

    monkeypatch.setattr(Rounds, "conduct", fail)
    with pytest.raises(MienError):
        conducted(run)
    error = last_of(folder, run)["error"]
    assert f"cannot write runs/{run}/state: No space left on device; the server's folder is full" in error
    assert str(folder.path) not in error
    assert (f"runs/{run}/server_app.log" in error) == (how is RuntimeError), "where the traceback is"
