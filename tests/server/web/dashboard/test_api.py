"""The JSON API over a server with a past: what it tells, and what it refuses."""

import hashlib
import json
from typing import Any

import pytest

from mien_common.release_version import parse_version
from mien_server.publishing.releases import list_releases

from ...history.made_history import FINISHED, RUNNING, MadeHistory
from .callers import Caller

V1 = "/api/v1"


def told(caller: Caller, path: str, status: int = 200, **options: Any) -> Any:
    """The JSON that a GET is answered with; of an error its sentence."""
    answer = caller.get(f"{V1}{path}", **options)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = json.loads(answer.text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    return content if status == 200 else content["detail"]


class TestLooking:
    def test_status_is_the_moment(self, reader: Caller) -> None:
        status = told(reader, "/status")
        assert (status["run"]["run"], status["run"]["state"]) == (RUNNING, "running")
        assert status["now"]["round"] == 4
        assert status["now"]["in_words"] == "waiting for 1 of 3 sites: lab-2 last seen 40 s ago"
        assert [(site["name"], site["presence"]) for site in status["sites"]] == [
            ("lab-1", "online"),
            ("lab-2", "late"),
            ("lab-3", "online"),
        ]
        assert status["latest_release"] == "1.1.0"
        assert status["server"]["up"] is True

    def test_runs_newest_first_by_pages(self, reader: Caller) -> None:
        newest, oldest = told(reader, "/runs")
        assert (newest["run"], oldest["run"]) == (RUNNING, FINISHED)
        assert told(reader, "/runs?limit=1") == [newest]
        assert told(reader, f"/runs?limit=1&before={newest['number']}") == [oldest]
        assert told(reader, f"/runs/{FINISHED}") == oldest
        assert (oldest["state"], oldest["rounds_done"]) == ("finished", 12)

    def test_rounds_and_the_sites_parts(self, reader: Caller) -> None:
        rounds = told(reader, f"/runs/{FINISHED}/rounds")
        assert [each["round"] for each in rounds] == list(range(1, 13))
        assert told(reader, f"/runs/{FINISHED}/rounds?after=11") == rounds[-1:]
        assert told(reader, f"/runs/{FINISHED}/rounds?after=12") == []
        assert rounds[0]["valence"]["pooled"] == pytest.approx(0.05)
        parts = told(reader, f"/runs/{RUNNING}/sites?round=3&site=lab-3")
        assert [(part["answered"], part["error"]) for part in parts] == [(False, "SessionError")]
        assert len(told(reader, f"/runs/{RUNNING}/sites")) == 9
        assert [site["name"] for site in told(reader, "/sites")] == ["lab-1", "lab-2", "lab-3"]

    def test_events_are_filtered(self, reader: Caller) -> None:
        newest = told(reader, "/events")
        assert [each["id"] for each in newest] == sorted((each["id"] for each in newest), reverse=True)
        promoted = told(reader, "/events?kind=promoted&kind=finished")
        assert {each["kind"] for each in promoted} == {"promoted", "finished"}
        assert told(reader, "/events?limit=2") == newest[:2]
        after = told(reader, f"/events?after={newest[2]['id']}")
        assert after == newest[:2][::-1], "in order"
        assert all(each["run"] == RUNNING for each in told(reader, f"/events?run={RUNNING}"))
        assert told(reader, "/events?text=%25") == [], "no wildcards"
        assert told(reader, "/events?site=lab-3&kind=dropped")[0]["round"] == 3

    def test_models_newest_first_and_what_was_made_of_them(self, reader: Caller) -> None:
        models = told(reader, "/models")
        assert [(each["run"], each["round"]) for each in models[:4]] == [
            (RUNNING, 3),
            (RUNNING, 2),
            (RUNNING, 1),
            (FINISHED, 12),
        ]
        assert [each["is_latest"] for each in models] == [True] + [False] * 14
        assert {each["round"]: each["releases"] for each in models if each["releases"]} == {
            6: ["1.0.0"],
            12: ["1.1.0"],
        }
        assert len(told(reader, f"/models?run={FINISHED}")) == 12
        assert told(reader, "/models?limit=1") == models[:1]
        assert told(reader, "/models?run=nothing") == []
        card = told(reader, f"/models/{FINISHED}/12")
        assert card["sha256"] == models[3]["sha256"]
        assert card["worst_site"]["valence"]["site"] == "lab-2"

    def test_releases_highest_first(self, past: MadeHistory, reader: Caller) -> None:
        releases = told(reader, "/releases")
        assert [(each["version"], each["round"], each["is_latest"]) for each in releases] == [
            ("1.1.0", 12, True),
            ("1.0.0", 6, False),
        ]
        assert releases[0]["files"]["model.onnx"] > 1000
        sums = (past.folder.releases / "1.1.0" / "SHA256SUMS").read_bytes()
        assert releases[0]["sums_sha256"] == hashlib.sha256(sums).hexdigest()

    def test_two_models_side_by_side(self, reader: Caller) -> None:
        found = told(reader, f"/comparison?first={FINISHED}/6&second=1.1.0")
        rows = {row["what"]: row for row in found["rows"]}
        pooled = rows["valence CCC, pooled"]
        assert pooled["change"] == pytest.approx(pooled["second"] - pooled["first"])
        assert rows["distance of the weights"]["first"] is None
        assert rows["run, round"]["second"] == f"{FINISHED}, 12"
        assert "there is no model" in told(
            reader, f"/comparison?first={FINISHED}/6&second={FINISHED}/99", 404
        )
        assert "no release 3.0.0" in told(reader, "/comparison?first=3.0.0&second=1.0.0", 404)

    @pytest.mark.parametrize(
        "path",
        [
            "/runs/nothing",
            "/runs/nothing/rounds",
            "/runs/nothing/sites",
            "/models/nothing/1",
            f"/models/{FINISHED}/13",
            f"/models/{FINISHED}/13/files/card.json",
            "/releases/9.0.0/files/card.json",
            "/nothing",
        ],
    )
    def test_what_is_not_there_is_404(self, reader: Caller, path: str) -> None:
        assert told(reader, path, 404)

    @pytest.mark.parametrize(
        "path",
        [
            "/runs?limit=0",
            "/runs?limit=x",
            "/runs?before=-1",
            f"/runs?before={2**70}",
            "/events?kind=nothing",
            "/events?site=LAB",
            "/events?text=%00",
            "/events?after=1e3",
            f"/runs/{FINISHED}/rounds?after=-1",
            "/comparison?first=1.0.0",
            "/comparison?first=../../tls/ca.key&second=1.0.0",
        ],
    )
    def test_what_cannot_be_is_422(self, reader: Caller, path: str) -> None:
        assert told(reader, path, 422)


TRICKS = (  # what httpx leaves as it is; plain dots are tried over the network, in test_process.py
    "../../tls",
    "..%2f..%2ftls",
    "%2e%2e%2f%2e%2e%2ftls",
    "....//",
    "%00",
    "a%00b",
    "a" * 65,
    "-rf",
    "%5c..%5c",
    "a%0d%0aX-Evil:%201",
    "latest",
)


class TestFiles:
    def test_a_model_comes_whole_and_by_its_hash(self, past: MadeHistory, reader: Caller) -> None:
        content = (past.folder.models / FINISHED / "round-0012" / "model.safetensors").read_bytes()
        path = f"{V1}/models/{FINISHED}/12/files/model.safetensors"
        answer = reader.get(path)
        digest = hashlib.sha256(content).hexdigest()
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["etag"] == f'"{digest}"'
        assert told(reader, f"/models/{FINISHED}/12")["sha256"] == digest
        assert answer.headers["content-disposition"] == (
            f'attachment; filename="{FINISHED}-round-0012-model.safetensors"'
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert reader.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        part = reader.get(path, headers={"Range": "bytes=8-15", "If-Range": answer.headers["etag"]})
        assert (part.status_code, part.content) == (206, content[8:16])
        assert part.headers["content-range"] == f"bytes 8-15/{len(content)}"
        assert reader.get(path, headers={"Range": f"bytes={len(content)}-"}).status_code == 416

    def test_a_release_s_files_never_change(self, past: MadeHistory, reader: Caller) -> None:
        for name in (
            "model.safetensors",
            "model.onnx",
            "card.json",
            "MODEL_CARD.md",
            "SHA256SUMS",
            "SHA256SUMS.sig",
        ):
            content = (past.folder.releases / "1.0.0" / name).read_bytes()
            answer = reader.get(f"{V1}/releases/1.0.0/files/{name}")
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
            assert "immutable" in answer.headers["cache-control"]
            assert "private" in answer.headers["cache-control"]
            assert answer.headers["content-disposition"] == f'attachment; filename="1.0.0-{name}"'

    @pytest.mark.parametrize("trick", TRICKS)
    def test_no_trick_leads_to_another_file(self, past: MadeHistory, reader: Caller, trick: str) -> None:
        for path in (
            f"/models/{trick}/1",
            f"/models/{trick}/1/files/card.json",
            f"/models/{FINISHED}/1/files/{trick}",
            f"/releases/{trick}/files/card.json",
            f"/releases/1.0.0/files/{trick}",
            f"/runs/{trick}",
        ):
            answer = reader.get(V1 + path)
            assert answer.status_code in (404, 422), (path, answer.text)
            assert "evil" not in {name.lower() for name in answer.headers}
            assert str(past.folder.path) not in answer.text
        for path in (f"/static/{trick}", f"/static/../{trick}", f"/static/x/{trick}"):
            answer = reader.get(path)
            assert answer.status_code in (404, 405) or answer.headers["content-type"].startswith(
                "text/html"
            ), path


class TestRefused:
    @pytest.mark.parametrize(
        ("wanted", "words"),
        [
            ({}, "rounds: Field required"),
            ({"rounds": "3"}, "rounds"),
            ({"rounds": 0}, "rounds"),
            ({"rounds": 3, "rounds_": 1}, "rounds_"),
            ({"rounds": 3, "rule": {"name": "nothing"}}, "rule.name"),
            ({"rounds": 3, "rule": {"name": "krum"}}, "rule.byzantine_sites"),
            ({"rounds": 3, "rule": {"tau": 1}}, "does not look at it"),
            ({"rounds": 3, "rule": {"name": "scaffold"}}, "mien lab compare"),
            ({"rounds": 3, "training": {"local_epochs": "1"}}, "training.local_epochs"),
            ({"rounds": 3, "seed": 1.5}, "seed"),
            ({"rounds": 3, "architecture": {"channels": 41}}, "architecture.channels"),
            ({"rounds": 3, "not_before": "2020-01-01T00:00:00Z"}, "not_before"),
            ({"rounds": 3, "not_before": "2027-01-01T00:00:00"}, "not_before"),
            ([], "body"),
        ],
    )
    def test_what_no_run_can_be_is_said_with_its_key(
        self, past: MadeHistory, doer: Caller, wanted: object, words: str
    ) -> None:
        answer = doer.post(f"{V1}/runs", json=wanted)
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"]
        assert not list(past.folder.queue.glob("2026-11-24*"))

    def test_more_sites_than_there_are_is_a_conflict(self, doer: Caller) -> None:
        answer = doer.post(f"{V1}/runs", json={"rounds": 3, "quorum": 4})
        assert answer.status_code == 409
        assert "only 3 sites are enrolled" in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("wanted", "status"),
        [
            ({"run": FINISHED, "round": 12, "version": "1.0.0"}, 409),
            ({"run": FINISHED, "round": 99}, 404),
            ({"run": "nothing", "round": 1}, 404),
            ({"run": "../../tls", "round": 1}, 422),
            ({"run": "a/../..", "round": 1}, 422),
            ({"run": FINISHED, "round": "12"}, 422),
            ({"run": FINISHED, "round": 1, "version": "1.0"}, 422),
            ({"run": FINISHED, "round": 1, "version": "../1.0.0"}, 422),
            ({"run": FINISHED, "round": 1, "version": "1.0.0\n"}, 422),
            ({"run": FINISHED, "round": 1, "version": "1.0.0+build"}, 422),
            ({"run": FINISHED, "round": 1, "force": True}, 422),
            ({"run": FINISHED}, 422),
        ],
    )
    def test_what_cannot_be_promoted(
        self, past: MadeHistory, doer: Caller, wanted: object, status: int
    ) -> None:
        answer = doer.post(f"{V1}/releases", json=wanted)
        assert answer.status_code == status, answer.text
        assert str(past.folder.path) not in answer.text
        assert len(list_releases(past.folder)) == 2


def test_a_version_is_a_version() -> None:
    """The pattern of the schema lets through what the command line takes, and nothing else."""
    import re

    from mien_common.release_version import VERSION_PATTERN

    for text in ("1.0.0", "0.0.1-rc.1", "1.0.0-0a", "1.0.0--"):
        assert re.match(VERSION_PATTERN, text, re.ASCII)
        assert str(parse_version(text)) == text
    for text in ("1.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+x", "v1.0.0", "1.0.0-é"):
        assert not re.match(VERSION_PATTERN, text, re.ASCII)
