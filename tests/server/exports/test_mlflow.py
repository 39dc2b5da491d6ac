"""Runs in MLflow: over HTTP to a server of the tests', and in MLflow's own SQL store, read by its client."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien_common.errors import FederationError, SettingsError
from mien_common.versions import MIEN_VERSION
from mien_server.exports.mlflow import Mlflow
from mien_server.exports.mlflow_server import MLFLOW_VARIABLE, mlflow_address
from mien_server.folder import ServerFolder
from mien_server.history.revisions import ID_FILE, own_id
from mien_server.runs.journal import Event, new_event

from ...free_ports import free_ports
from .made_journal import made_run, round_event
from .mlflow_rest import MlflowRest

PASSWORD = "s%3Acret-7f3a"  # "s:cret-7f3a", as an address has to write it


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """The follower sets the library's variables for its process, which here is everybody's."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def server() -> Iterator[MlflowRest]:
    made = MlflowRest()
    yield made
    made.close()


@pytest.fixture
def run(folder: ServerFolder) -> str:
    return made_run(folder)


def started(run: str) -> Event:
    return new_event("started", run=run, rounds=20, rule="fedavg", quorum=2) | {
        "time": "2026-11-23T10:00:00.000+00:00"
    }


def take(follower: Mlflow, folder: ServerFolder, run: str, *events: Event) -> None:
    for event in events:
        follower.take(folder, run, event)


def test_a_run_with_its_settings_and_a_step_for_every_round(
    server: MlflowRest, folder: ServerFolder, run: str
) -> None:
    take(Mlflow(server.address), folder, run, started(run), *map(round_event, (1, 2, 3)))

    logged = server.only_run()

    assert (logged["name"], logged["status"]) == (run, "RUNNING")
    assert logged["started"] == 1795428000_000
    assert logged["tags"] == {
        **{"mien.run": run, "mien.server": own_id(folder), "mien.version": MIEN_VERSION},
        **{"mien.state": "running", "mien.reason": "", "mien.round": "3"},
    }
    assert {"rounds": "20", "quorum": "2", "rule.name": "fedavg"}.items() <= dict(logged["params"]).items()
    assert server.history("ccc/valence_pooled") == [(1, 1 / 32), (2, 2 / 32), (3, 3 / 32)]
    assert server.history("site/lab-2/loss") == [(1, 1.25), (3, 1.25)]  # it failed in the second
    assert {metric["timestamp"] for metric in logged["metrics"] if metric["step"] == 2} == {1795428150_250}
    assert server.history("ccc/arousal_pooled") == []


@pytest.mark.parametrize(
    ("last", "status"),
    [("finished", "FINISHED"), ("stopped", "KILLED"), ("failed", "FAILED"), ("died", "FAILED")],
)
def test_how_a_run_ended(server: MlflowRest, folder: ServerFolder, run: str, last: str, status: str) -> None:
    end = new_event(last, run=run, rounds=1, error="why") | {"time": "2026-11-23T11:00:00.000+00:00"}
    take(Mlflow(server.address), folder, run, started(run), round_event(1), end)

    logged = server.only_run()

    assert (logged["status"], logged["ended"]) == (status, 1795431600_000)
    assert (logged["tags"]["mien.state"], logged["tags"]["mien.reason"]) == (last, "why")


def test_a_resumed_run_goes_on_in_the_same_place(server: MlflowRest, folder: ServerFolder, run: str) -> None:
    take(Mlflow(server.address), folder, run, started(run), round_event(1), new_event("died"))
    again = Mlflow(server.address)
    take(again, folder, run, new_event("resumed", run=run, round=2, rounds=20), round_event(2))

    assert server.only_run()["status"] == "RUNNING"
    assert server.only_run()["tags"]["mien.state"] == "running"
    assert [step for step, _ in server.history("loss/mean")] == [1, 2]


def test_what_is_handed_over_again_after_a_crash_is_logged_once(
    server: MlflowRest, folder: ServerFolder, run: str
) -> None:
    events = [started(run), round_event(1), round_event(2)]
    take(Mlflow(server.address), folder, run, *events)
    take(Mlflow(server.address), folder, run, *events, round_event(3))

    assert [step for step, _ in server.history("loss/mean")] == [1, 2, 3]
    assert len(dict(server.only_run()["params"])) == len(server.only_run()["params"])


def test_a_server_that_died_between_a_run_and_its_settings(
    server: MlflowRest, folder: ServerFolder, run: str
) -> None:
    take(Mlflow(server.address), folder, run, started(run))
    logged = server.only_run()
    logged["params"].clear()
    del logged["tags"]["mien.version"]

    take(Mlflow(server.address), folder, run, round_event(1))

    assert dict(server.only_run()["params"])["rounds"] == "20"


def test_two_servers_with_runs_of_one_name_are_told_apart(
    server: MlflowRest, folder: ServerFolder, run: str
) -> None:
    take(Mlflow(server.address), folder, run, started(run))
    (folder.state / ID_FILE).unlink()
    take(Mlflow(server.address), folder, run, started(run))

    assert len(server.runs) == 2


def test_a_server_that_is_not_there_is_an_error_to_try_again(folder: ServerFolder, run: str) -> None:
    (port,) = free_ports(1)
    follower = Mlflow(f"http://me:{PASSWORD}@127.0.0.1:{port}/")
    for _ in range(2):
        with pytest.raises(FederationError, match=f"MLflow at 127.0.0.1:{port} took nothing") as error:
            take(follower, folder, run, started(run))
        assert "cret" not in str(error.value)
        assert error.value.__cause__ is None  # nothing that a traceback would show
        assert error.value.__suppress_context__

    server = MlflowRest(port)
    try:
        take(follower, folder, run, started(run), round_event(1))
        assert server.history("loss/mean") == [(1, 1.0)]
    finally:
        server.close()


@pytest.mark.parametrize(
    "broken",
    [
        (500, "oh"),
        (503, '{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}'),
        (429, '{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slower"}'),
        (401, "You are not authenticated"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}'),
        (404, "<html>no MLflow here</html>"),
        (200, "<html>no MLflow here</html>"),
        (200, "[]"),
        (200, '{"experiment": 7}'),
        (200, '{"experiment": {"experiment_id": {}}}'),
        (200, "\x00"),
        (302, "http://127.0.0.1:9/api/2.0/mlflow/"),
        (200, ""),
    ],
)
def test_whatever_answers_there_the_follower_can_try_again(
    server: MlflowRest, folder: ServerFolder, run: str, broken: tuple[int, str]
) -> None:
    follower = Mlflow(server.address)
    server.broken = broken
    with pytest.raises(FederationError):
        take(follower, folder, run, started(run))
    server.broken = None
    take(follower, folder, run, started(run), round_event(1))

    assert server.history("loss/mean") == [(1, 1.0)]


def test_a_run_that_somebody_deleted_there_holds_up_no_other(
    server: MlflowRest, folder: ServerFolder, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    follower, other = Mlflow(server.address), made_run(folder)
    take(follower, folder, run, started(run))
    server.runs.clear()
    with caplog.at_level(logging.WARNING):
        take(follower, folder, run, round_event(1), round_event(2))
    take(follower, folder, other, started(other), round_event(1))

    assert caplog.text.count("event=mlflow_refused") == 1
    assert server.only_run()["name"] == other


def test_a_round_that_lacks_a_part_holds_up_no_other(
    server: MlflowRest, folder: ServerFolder, run: str
) -> None:
    damaged = {"event": "round", "time": "2026-11-23T10:00:00+00:00", "round": 2}
    take(Mlflow(server.address), folder, run, started(run), round_event(1), damaged, round_event(3))

    assert [step for step, _ in server.history("loss/mean")] == [1, 3]


def test_a_password_goes_into_a_header_and_nowhere_else(
    server: MlflowRest, folder: ServerFolder, run: str, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    import base64

    with caplog.at_level(logging.DEBUG):
        follower = Mlflow(server.address.replace("//", f"//me:{PASSWORD}@"))
        take(follower, folder, run, started(run), round_event(1), new_event("finished", rounds=1))
        server.broken = (401, "wrong: me:s:cret-7f3a")
        with pytest.raises(FederationError) as error:
            take(follower, folder, run, new_event("resumed", round=2, rounds=2))

    wanted = "Basic " + base64.b64encode(b"me:s:cret-7f3a").decode()
    assert {headers["Authorization"] for headers in server.headers} == {wanted}
    said = caplog.text + "".join(capfd.readouterr()) + str(error.value) + follower.name
    assert "cret" not in said


def test_another_server_is_another_follower(server: MlflowRest) -> None:
    """Its position is another one: it is told everything from the beginning."""
    one, other = Mlflow(server.address), Mlflow("http://127.0.0.1:1")
    with_password = Mlflow(server.address.replace("//", f"//me:{PASSWORD}@"))
    assert one.name != other.name
    assert one.name == with_password.name


def test_the_address_from_the_environment_comes_first(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mlflow_address(folder) == ""
    monkeypatch.setenv(MLFLOW_VARIABLE, "https://me:secret@mlflow.example.org")
    assert mlflow_address(folder) == "https://me:secret@mlflow.example.org"
    monkeypatch.setenv(MLFLOW_VARIABLE, "ftp://me:secret@mlflow.example.org")
    with pytest.raises(SettingsError, match=MLFLOW_VARIABLE) as error:
        mlflow_address(folder)
    assert "secret" not in str(error.value)


def test_without_its_client_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SettingsError, match=r"pip install 'mien\[mlflow\]'"):
        Mlflow("http://127.0.0.1:1")


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # of MLflow's tables
def test_mlflows_own_store_has_a_point_for_every_round(
    folder: ServerFolder, run: str, tmp_path: Path
) -> None:
    """The store behind a real MLflow server, without its HTTP; a value that comes twice is one."""
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    take(Mlflow(address), folder, run, started(run), *map(round_event, (1, 2)))
    again = Mlflow(address)
    take(again, folder, run, *map(round_event, (1, 2, 3)), new_event("stopped", reason="enough"))

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("mien")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == (run, "KILLED")
    assert found.data.params["rounds"] == "20"
    history = client.get_metric_history(found.info.run_id, "loss/mean")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_nothing_is_told_to_anybody_else(
    server: MlflowRest, folder: ServerFolder, run: str, tmp_path: Path
) -> None:
    """In a process without a sign that it is a test: the library would report on its use, and make itself a
    number in the user's home. Every connection and every name that is asked for is written down."""
    home = tmp_path / "home"
    home.mkdir()
    events = [started(run), round_event(1), new_event("finished", rounds=1)]
    script = f"""
import json, socket, sys, time
from pathlib import Path
asked = []
names, connects = socket.getaddrinfo, socket.socket.connect
def resolve(host, *more, **options):
    asked.append(str(host))
    return names(host, *more, **options)
def connect(self, address):
    asked.append(str(address[0]))
    return connects(self, address)
socket.getaddrinfo, socket.socket.connect = resolve, connect
from mien_server.exports.mlflow import Mlflow
from mien_server.folder import open_folder
follower = Mlflow({server.address!r})
for event in json.loads(sys.stdin.read()):
    follower.take(open_folder(Path({str(folder.path)!r})), {run!r}, event)
from mlflow.telemetry import get_telemetry_client
from mlflow.telemetry.utils import _IS_IN_CI_ENV_OR_TESTING
import threading
print(json.dumps({{
    "asked": sorted(set(asked)), "reporter": get_telemetry_client(), "is_test": _IS_IN_CI_ENV_OR_TESTING,
    "threads": threading.active_count(), "torch": "torch" in sys.modules,
}}))
"""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=home,
        env=environment,
        input=json.dumps(events),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) == {
        **{"asked": ["127.0.0.1"], "reporter": None, "is_test": False, "threads": 1, "torch": False}
    }
    assert found.stdout.count("\n") == 1
    assert found.stderr == ""
    assert list(home.iterdir()) == []
    assert server.only_run()["status"] == "FINISHED"
