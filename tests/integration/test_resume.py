"""A run whose ServerApp is killed goes on to the same model; what waits behind it takes its turn."""

import datetime as dt
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien_common.errors import FederationError
from mien_common.published import read_published
from mien_lab.federation import Federation
from mien_lab.mien_command import run_mien
from mien_server.folder import open_folder
from mien_server.runs.queue import submit
from mien_server.runs.record import list_runs
from mien_server.runs.settings import checked

Standing = Callable[..., Federation]

SITES = ("lab-1", "lab-2", "lab-3")
SETTINGS = ("--rounds", 3, "--seed", 5, "--quorum", 3, "--rule", "fedadam")


def server_app(federation: Federation) -> int:
    """The process that conducts a run of this server; one of a run before may take a while to end."""
    address = open_folder(federation.server).control_address
    end = time.monotonic() + 60
    while True:
        found = subprocess.run(["pgrep", "-f", f"serverapp.*{address}"], capture_output=True, text=True)
        if len(pids := found.stdout.split()) == 1:
            return int(pids[0])
        assert time.monotonic() < end, found.stdout
        time.sleep(0.05)


def wait_for(events: Iterator[dict[str, Any]], kind: str) -> None:
    """Take events up to the next one of this kind."""
    assert any(event["event"] == kind for event in events), f"the run ended without a {kind}"


def test_a_run_whose_server_app_is_killed_goes_on_to_the_same_model(standing: Standing) -> None:
    federation = standing(*SITES)
    whole = [event for event in federation.run(*SETTINGS) if event["event"] == "round"]

    folder = open_folder(federation.server)
    events = federation.run(*SETTINGS)
    wait_for(events, "round_started")
    # All that takes time is done before the first round is: the others may be done in a second.
    behind = submit(folder, checked({"rounds": 1, "quorum": 3}), dt.datetime.now(dt.UTC))
    victim = server_app(federation)
    wait_for(events, "round")
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(FederationError, match=r"died: its ServerApp died.*mien server run --resume"):
        list(events)
    first, died, next_run = list_runs(folder)[-3:]
    assert (first.state, died.state, next_run.name) == ("finished", "died", behind)
    assert next_run.state in ("waiting", "running", "finished"), "its turn comes although one before it died"
    assert died.rounds_done >= 1

    rest = list(federation.run("--resume", died.name))
    rounds = [event["round"] for event in rest if event["event"] == "round"]
    assert rounds == list(range(died.rounds_done + 1, 4))
    assert [record.state for record in list_runs(folder)[-3:]] == ["finished"] * 3
    assert "resumed  once" in run_mien("server", "show", died.name, "--dir", federation.server)
    expected, found = (read_published(Path(run[-1]["model"]))[1] for run in (whole, rest[:-1]))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6)
