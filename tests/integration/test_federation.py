"""Whole federations of real processes: they finish, they repeat, and they survive what breaks."""

import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien_common.errors import FederationError
from mien_common.published import read_published
from mien_lab.federation import Federation
from mien_lab.mien_command import mien, run_mien
from mien_server.folder import open_folder
from mien_server.runs.record import list_runs

from ..waiting import wait_until

Standing = Callable[..., Federation]

SITES = ("lab-1", "lab-2", "lab-3")


def rounds_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "round"]


def receipts_of(federation: Federation) -> list[str]:
    """What left lab-1 so far."""
    file = federation.site("lab-1") / "receipts.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line)["kind"] for line in lines]


def certificate_shown(port: int) -> bytes | None:
    """What answers there shows this certificate; None while nobody answers."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            trusting.wrap_socket(plain) as secured,
        ):
            return secured.getpeercert(binary_form=True)
    except OSError:
        return None


def test_a_run_publishes_every_round_and_repeats_exactly(standing: Standing) -> None:
    federation, sites = standing(*SITES), [*SITES]
    before = len(receipts_of(federation))
    options = ("--rounds", 3, "--quorum", 3, "--seed", 5)
    first, second = (rounds_of(list(federation.run(*options))) for _ in range(2))
    run_mien("server", "promote", "latest", "--dir", federation.server)
    where = f"https://127.0.0.1:{federation.releases_port}"
    run_mien("agent", "fetch", "--site", federation.site("lab-2"), "--from", where)
    assert [event["round"] for event in first] == [1, 2, 3]
    assert all(event["sites"]["answered"] == sites for event in first + second)
    assert all(event["bytes_up"] > 180_000 * 3 for event in first), "three updates of 45,442 float32 numbers"
    models = [read_published(Path(event["model"])) for event in (first[-1], second[-1])]
    assert models[0][0].sha256 == models[1][0].sha256, "the same seed and sites give the same bytes"
    latest = federation.server / "models" / "latest"
    assert read_published(latest)[0].sha256 == models[1][0].sha256
    assert latest.readlink().is_absolute() is False
    newest, weights = read_published(federation.site("lab-1") / "models" / "newest")
    assert (newest.run, newest.round) == (models[1][0].run, 3), "each site can watch with the newest model"
    assert all(np.array_equal(weights[name], models[1][1][name]) for name in models[1][1])
    released, weights = read_published(federation.site("lab-2") / "releases" / "current")
    assert released.sha256 == models[1][0].sha256, "a site fetched what was promoted, from the server of `up`"
    assert released.release is not None
    assert (released.release.version, released.release.training["seed"]) == ("1.0.0", 5)
    assert set(released.worst_site) == {
        target for target, found in released.ccc.items() if found.pooled == found.pooled
    }
    kinds = receipts_of(federation)[before:]
    assert kinds == ["update", "evaluation"] * 6, "what left is on record, and nothing else left"


def test_a_killed_site_does_not_block_the_run_and_is_missed_where_all_are_needed(standing: Standing) -> None:
    federation = standing(*SITES)
    events = []
    for event in federation.run("--rounds", 6, "--quorum", 2, "--deadline", 60):
        events.append(event)
        if event["event"] == "round" and event["round"] == 2:
            os.killpg(federation.pid("lab-3"), signal.SIGKILL)
    done = rounds_of(events)
    assert [event["round"] for event in done] == list(range(1, 7))
    assert done[-1]["sites"]["answered"] == ["lab-1", "lab-2"]
    assert max(event["seconds"]["total"] for event in done) < 50, "a dead site is let go before the deadline"
    with pytest.raises(FederationError, match=r"2 of the 3 sites needed were online.*lab-1, lab-2") as told:
        list(federation.run("--rounds", 1, "--quorum", 3, "--wait", 3))
    assert "Traceback" not in str(told.value)
    (record,) = list_runs(open_folder(federation.server))[-1:]
    lines = (federation.server / "runs" / record.name / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["started", "waiting", "failed"]


def test_a_site_with_nothing_to_train_on_says_so_and_the_others_go_on(standing: Standing) -> None:
    federation = standing(*SITES)
    sessions = list((federation.site("lab-3") / "sessions").iterdir())
    for session in sessions:
        session.rename(federation.folder / session.name)
    (done,) = rounds_of(list(federation.run("--rounds", 1, "--quorum", 2)))
    for session in sessions:
        (federation.folder / session.name).rename(session)
    assert done["sites"]["answered"] == ["lab-1", "lab-2"]
    reason = done["sites"]["failed"]["lab-3"]
    assert reason.startswith("NoSessionError"), reason
    assert str(federation.folder) not in reason, "paths stay at the site"


def test_a_killed_agent_comes_back_as_itself_and_answers_what_it_owed(standing: Standing) -> None:
    federation = standing(*SITES)
    before = (federation.site("lab-2") / "state" / "node-id").read_text()
    events = []
    for event in federation.run("--rounds", 6, "--quorum", 3, "--deadline", 120):
        events.append(event)
        if event["event"] == "round" and event["round"] == 2:
            os.killpg(federation.pid("lab-2"), signal.SIGKILL)
            federation.log("lab-2").unlink()
            federation.join(["lab-2"])
    after = (federation.site("lab-2") / "state" / "node-id").read_text()
    assert [event["round"] for event in rounds_of(events)] == [1, 2, 3, 4, 5, 6]
    assert before == after


def test_a_killed_superlink_and_a_renewed_certificate_leave_the_run_going_on(standing: Standing) -> None:
    federation = standing(*SITES)
    ports = (federation.port, federation.enrol_port, federation.releases_port)
    before = {port: certificate_shown(port) for port in ports}
    assert len(set(before.values())) == 1
    assert None not in before.values()
    events = []
    for event in federation.run("--rounds", 8, "--quorum", 3, "--deadline", 120):
        events.append(event)
        if event["event"] == "round" and event["round"] == 2:
            listing = subprocess.run(
                ["pgrep", "-f", f"flower-superlink.*{federation.server}"], capture_output=True, text=True
            )
            assert listing.stdout
            for pid in listing.stdout.split():
                with suppress(ProcessLookupError):  # killed with the one before it
                    os.kill(int(pid), signal.SIGKILL)
        if event["event"] == "round" and event["round"] == 4:
            run_mien("server", "init", federation.server, "--renew")
            wait_until(
                lambda: all(certificate_shown(port) not in (None, before[port]) for port in ports),
                "every port shows the new certificate",
            )
    assert [event["round"] for event in rounds_of(events)] == list(range(1, 9))


def test_the_same_client_app_runs_under_flowers_own_supernode(standing: Standing) -> None:
    federation = standing(*SITES)
    federation.join_stock(["lab-4"])
    (done,) = rounds_of(list(federation.run("--rounds", 1, "--quorum", 4, "--wait", 120)))
    federation.leave("lab-4")
    assert done["sites"]["answered"] == [*SITES, "lab-4"]
    assert done["evaluated"]["answered"] == [*SITES, "lab-4"]
    assert read_published(federation.site("lab-4") / "models" / "newest")[0].round == 1


def test_two_agents_on_one_folder_are_refused(standing: Standing) -> None:
    second = subprocess.run(
        mien("agent", "join", "--site", standing("lab-1").site("lab-1")),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert second.returncode == 1
    assert second.stderr.startswith("error: another agent is running on ")
