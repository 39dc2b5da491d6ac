"""A run whose ServerApp is killed goes on to the same model; what waits behind it takes its turn."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien_common.errors import FederationError
from mien_common.published import read_published
from mien_lab.federation import Federation
from mien_lab.mien_command import run_mien
from mien_server.folder import open_folder
from mien_server.run_record import list_runs

Make = Callable[[int], Federation]

SETTINGS = ("--rounds", 4, "--seed", 5, "--quorum", 2, "--rule", "fedadam")


def server_apps(federation: Federation) -> list[int]:
    """Processes that conduct a run of this server."""
    address = open_folder(federation.server).control_address
    found = subprocess.run(["pgrep", "-f", f"serverapp.*{address}"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def test_a_run_whose_server_app_is_killed_goes_on_to_the_same_model(make_federation: Make) -> None:
    federation = make_federation(2)
    where = ("--dir", federation.server)
    with federation:
        federation.up()
        federation.join(["lab-1", "lab-2"])
        whole = [event for event in federation.run(*SETTINGS) if event["event"] == "round"]

        with pytest.raises(FederationError, match=r"died: its ServerApp died.*mien server run --resume"):
            for event in federation.run(*SETTINGS):
                if event["event"] == "round" and event["round"] == 2:
                    behind = run_mien("server", "run", "--rounds", 1, "--quorum", 2, "--detach", *where)
                    (victim,) = server_apps(federation)
                    os.kill(victim, signal.SIGKILL)
        first, died, next_run = list_runs(open_folder(federation.server))
        assert (first.state, died.state, next_run.name) == ("finished", "died", behind.strip())
        assert next_run.state in ("waiting", "running"), "its turn comes although the run before it died"
        assert died.rounds_done >= 2

        events = list(federation.run("--resume", died.name))
        rounds = [event["round"] for event in events if event["event"] == "round"]
        assert rounds == list(range(died.rounds_done + 1, 5))
        assert "finished" in [record.state for record in list_runs(open_folder(federation.server))][2]
        shown = run_mien("server", "show", died.name, *where)
    assert "resumed  once" in shown
    expected, found = (read_published(Path(run[-1]["model"]))[1] for run in (whole, events[:-1]))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6)
