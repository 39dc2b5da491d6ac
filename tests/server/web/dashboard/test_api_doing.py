"""What an operator does over the JSON API, and what is left when it fails."""

import datetime as dt
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien_common.errors import FederationError
from mien_server.folder import ServerFolder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.publishing.release_key import release_key
from mien_server.publishing.releases import check_release, list_releases
from mien_server.runs.queue import read_ticket
from mien_server.web.dashboard.app import dashboard_app
from mien_server.web.dashboard.tokens import new_token

from ....made_models import publish_model
from ...history.made_history import FINISHED, RUNNING, MadeHistory
from .callers import Caller
from .conftest import NOW

V1 = "/api/v1"


def told(caller: Caller, path: str, status: int = 200, **options: Any) -> Any:
    """The JSON that a GET is answered with; of an error its sentence."""
    answer = caller.get(f"{V1}{path}", **options)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = json.loads(answer.text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    return content if status == 200 else content["detail"]


class TestRuns:
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stands for a SuperLink that answers."""
        monkeypatch.setattr("mien_server.runs.start.check_ready", lambda *_: None)

    def test_a_run_is_queued_as_on_the_command_line(self, made: MadeHistory, operator: Caller) -> None:
        later = NOW + dt.timedelta(hours=2)
        wanted = {
            "rounds": 3,
            "rule": {"name": "fedadam", "tau": 0.01},
            "training": {"local_epochs": 1},
            "not_before": later.isoformat(),
        }
        answer = operator.post(f"{V1}/runs", json=wanted)
        assert answer.status_code == 201, answer.text
        run = answer.json()
        assert (run["state"], run["rounds"], run["rounds_done"]) == ("waiting", 3, 0)
        assert run["quorum"] == 2, "more than half of three"
        assert run["settings"]["rule"]["tau"] == 0.01
        assert dt.datetime.fromisoformat(run["not_before"]) == later
        assert run["run"].startswith("2026-11-24-")
        assert run["number"] == 3
        ticket = read_ticket(made.folder, run["run"])
        assert ticket is not None
        assert ticket.not_before == later
        made.record()
        assert told(operator, f"/runs/{run['run']}") == run, "the history tells the same"
        assert [each["run"] for each in told(operator, "/status")["queue"]] == [run["run"]]

    def test_without_a_superlink_nothing_is_queued(
        self, made: MadeHistory, operator: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> None:
            raise FederationError("no server answers at 127.0.0.1:1")

        monkeypatch.setattr("mien_server.runs.start.check_ready", away)
        answer = operator.post(f"{V1}/runs", json={"rounds": 3})
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert len(list(made.folder.queue.iterdir())) == 1

    def test_stop_and_resume(self, made: MadeHistory, operator: Caller) -> None:
        told_to = operator.post(f"{V1}/runs/{RUNNING}/stop")
        assert (told_to.status_code, told_to.json()["state"]) == (202, "running")
        ticket = read_ticket(made.folder, RUNNING)
        assert ticket is not None
        assert ticket.stop_asked
        queued = operator.post(f"{V1}/runs", json={"rounds": 2}).json()["run"]
        taken_out = operator.post(f"{V1}/runs/{queued}/stop")
        assert (taken_out.status_code, taken_out.json()["state"]) == (202, "stopped")
        again = operator.post(f"{V1}/runs/{queued}/stop")
        assert again.status_code == 409
        assert "over already" in again.json()["detail"]
        resumed = operator.post(f"{V1}/runs/{queued}/resume")
        assert (resumed.status_code, resumed.json()["state"]) == (202, "waiting")
        assert operator.post(f"{V1}/runs/{queued}/resume").status_code == 202, "it waits already"
        finished = operator.post(f"{V1}/runs/{FINISHED}/resume")
        assert finished.status_code == 409
        assert "nothing to resume" in finished.json()["detail"]
        for what in ("stop", "resume"):
            assert operator.post(f"{V1}/runs/nothing/{what}").status_code == 404


class TestReleases:
    def test_promote_and_point_back(self, made: MadeHistory, operator: Caller) -> None:
        made_ = operator.post(f"{V1}/releases", json={"run": RUNNING, "round": 3})
        assert made_.status_code == 201, made_.text
        release = made_.json()
        assert (release["version"], release["is_latest"]) == ("1.2.0", True)
        check_release(made.folder.releases / "1.2.0", "1.2.0", release_key(made.folder.tls).public_key())
        assert told(operator, "/releases")[0] == release
        back = operator.put(f"{V1}/releases/latest", json={"version": "1.0.0"})
        assert (back.status_code, back.json()["version"], back.json()["is_latest"]) == (200, "1.0.0", True)
        assert told(operator, "/models?limit=1")[0]["releases"] == ["1.2.0"]
        trial = operator.post(f"{V1}/releases", json={"run": RUNNING, "round": 2, "version": "2.0.0-rc.1"})
        assert (trial.status_code, trial.json()["is_latest"]) == (201, False)
        made.record()
        assert told(operator, "/events?kind=rolled_back")[0]["text"]

    def test_there_is_no_way_to_a_release_that_is_not_there_or_damaged(
        self, made: MadeHistory, operator: Caller
    ) -> None:
        assert operator.put(f"{V1}/releases/latest", json={"version": "4.0.0"}).status_code == 404
        page = made.folder.releases / "1.0.0" / "MODEL_CARD.md"
        page.chmod(0o644)
        page.write_text("another")
        damaged = operator.put(f"{V1}/releases/latest", json={"version": "1.0.0"})
        assert damaged.status_code == 409
        assert "is damaged" in damaged.json()["detail"]
        assert str(made.folder.path) not in damaged.text
        assert told(operator, "/status")["latest_release"] == "1.1.0"

    def test_a_damaged_model_is_not_promoted(self, made: MadeHistory, operator: Caller) -> None:
        weights = made.folder.models / FINISHED / "round-0001" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        answer = operator.post(f"{V1}/releases", json={"run": FINISHED, "round": 1})
        assert answer.status_code == 409
        assert "does not match its card" in answer.json()["detail"]

    def test_a_full_disk_leaves_nothing_half(self, folder: ServerFolder, small_disk: Path) -> None:
        tight = replace(folder, path=small_disk)
        shutil.copytree(folder.tls, tight.tls)
        tight.state.mkdir(mode=0o700)
        publish_model(tight.models, 1)
        small = Caller(
            dashboard_app(tight, History(history_url(folder)), clock=lambda: NOW),
            {"Authorization": f"Bearer {new_token(tight, 'operator', NOW)}"},
        )
        assert small.post(f"{V1}/releases", json={"run": "2026-11-23-001", "round": 1}).status_code == 201
        with (tight.path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        answer = small.post(f"{V1}/releases", json={"run": "2026-11-23-001", "round": 1})
        assert (answer.status_code, "disk full" in answer.json()["detail"]) == (507, True)
        assert str(tight.path) not in answer.text
        assert [str(one.version) for one in list_releases(tight)] == ["1.0.0"]
        assert sorted(path.name for path in tight.releases.iterdir()) == ["1.0.0", "index.json", "latest"]
        (tight.path / "filler").unlink()
        assert small.post(f"{V1}/releases", json={"run": "2026-11-23-001", "round": 1}).status_code == 201


class TestWithoutTheHistory:
    @pytest.mark.usefixtures("made")
    def test_the_files_still_tell_the_status(
        self, folder: ServerFolder, operator: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = told(operator, "/status")
        monkeypatch.setattr("mien_server.runs.start.check_ready", lambda *_: None)
        (folder.state / "history.db").rename(folder.state / "away.db")
        status = told(operator, "/status")
        assert status["server"]["behind_s"] is None
        for part in ("latest_release", "sites"):
            assert status[part] == before[part]
        assert status["run"]["rounds_done"] == before["run"]["rounds_done"]
        assert status["now"]["in_words"] == before["now"]["in_words"]
        for path in ("/runs", f"/runs/{RUNNING}", f"/runs/{RUNNING}/rounds", "/sites", "/events"):
            assert "the history cannot be read now" in told(operator, path, 503)
        # What needs no history goes on.
        assert len(told(operator, "/models")) == 15
        assert operator.post(f"{V1}/runs", json={"rounds": 1}).status_code == 201
        assert operator.post(f"{V1}/releases", json={"run": RUNNING, "round": 1}).status_code == 201
        (folder.state / "away.db").rename(folder.state / "history.db")
        assert told(operator, f"/runs/{RUNNING}")["run"] == RUNNING, "and it comes back by itself"

    def test_a_server_that_never_recorded_anything_has_a_status(self, viewer: Caller) -> None:
        status = told(viewer, "/status")
        assert (status["run"], status["sites"], status["server"]["up"]) == (None, [], False)


def test_a_link_in_the_place_of_a_model_is_none(made: MadeHistory, viewer: Caller) -> None:
    (made.folder.models / "elsewhere").symlink_to(made.folder.models / FINISHED)
    assert len(told(viewer, "/models")) == 15


def test_what_fails_inside_stays_inside(
    made: MadeHistory, operator: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(f"in {made.folder.path}")

    monkeypatch.setattr("mien_server.publishing.catalogue.Catalogue.releases", fail)
    answer = operator.get(f"{V1}/releases")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "the server failed at this. Its dashboard.log says more."}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "ZeroDivisionError" in caplog.text
