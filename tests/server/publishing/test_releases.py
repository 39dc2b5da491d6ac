"""Releases on the server: whole, signed, never changed; stock tools find them in order."""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mien_client.face.action_units import EXPERIMENTAL
from mien_common.architecture import Architecture
from mien_common.errors import InputError, MienError, ModelError, SettingsError, StorageError, TrustError
from mien_common.published import read_published
from mien_common.release import FILE_LIMITS_BYTES, ReleaseIndex, verified_index
from mien_common.release_version import parse_version
from mien_common.weights import network_from
from mien_server.folder import ServerFolder
from mien_server.publishing.model_card import NOT_GIVEN, model_card
from mien_server.publishing.model_choice import any_model, published_model
from mien_server.publishing.model_comparison import compare
from mien_server.publishing.onnx_graph import OPSET
from mien_server.publishing.release_key import release_key
from mien_server.publishing.releases import (
    Release,
    check_release,
    list_releases,
    promote,
    refresh_index,
    roll_back,
)
from mien_server.runs.settings import RunSettings

from ...made_models import RUN, publish_model

NOW = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)
FILES = {*FILE_LIMITS_BYTES, "SHA256SUMS", "SHA256SUMS.sig"}


def key_of(folder: ServerFolder) -> Ed25519PublicKey:
    return release_key(folder.tls).public_key()


def index_of(folder: ServerFolder) -> ReleaseIndex:
    return verified_index((folder.releases / "index.json").read_bytes(), key_of(folder))


def release(folder: ServerFolder, round_: int = 1, version: str | None = None, **changes: Any) -> Release:
    model = folder.models / RUN / f"round-{round_:04d}"
    if not model.exists():
        publish_model(folder.models, round_, **changes)
    return promote(folder, model, parse_version(version) if version else None, NOW)


class TestPromote:
    def test_a_release_holds_the_rounds_weights_and_says_where_they_come_from(
        self, folder: ServerFolder
    ) -> None:
        run = folder.runs / RUN
        run.mkdir(parents=True)
        (run / "settings.json").write_text(RunSettings(rounds=20, quorum=2, seed=11).model_dump_json())
        made = release(folder)
        assert {path.name for path in made.path.iterdir()} == FILES
        card, weights = read_published(made.path)
        round_card, round_weights = read_published(folder.models / RUN / "round-0001")
        assert all(np.array_equal(weights[name], round_weights[name]) for name in weights)
        assert card.sha256 == round_card.sha256
        assert card.release is not None
        assert (card.release.version, card.release.opset) == ("1.0.0", OPSET)
        assert (card.release.mechanism, card.release.epsilon) == (None, None)
        assert (card.release.training["seed"], card.release.training["quorum"]) == (11, 2)
        page = (made.path / "MODEL_CARD.md").read_text()
        assert "| rule | fedavg: weighting frames |" in page, "and none of other rules' numbers"
        assert card.model_copy(update={"release": None}).model_dump_json() == round_card.model_dump_json()

    def test_what_a_user_of_the_files_would_check_with_holds(self, folder: ServerFolder) -> None:
        """sha256sum and OpenSSL know nothing of Mien."""
        made = release(folder)
        sums = subprocess.run(
            ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=made.path, capture_output=True, text=True
        )
        assert sums.returncode == 0, sums.stderr
        assert sums.stdout.count(": OK") == len(FILE_LIMITS_BYTES)
        verify: list[str | Path] = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            folder.tls / "release.pub",
        ]
        signed: list[str | Path] = ["-in", made.path / "SHA256SUMS", "-sigfile", made.path / "SHA256SUMS.sig"]
        assert subprocess.run([*verify, *signed], capture_output=True).returncode == 0
        signed[1] = made.path / "card.json"
        assert subprocess.run([*verify, *signed], capture_output=True).returncode != 0

    def test_the_onnx_file_gives_the_numbers_of_the_safetensors_file(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = release(folder, architecture=Architecture(kind="lstm", residual=True, hidden_units=8))
        card, weights = read_published(made.path)
        features = np.random.default_rng(1).standard_normal((1, 50, 40)).astype(np.float32)
        session = onnxruntime.InferenceSession(made.path / "model.onnx", providers=["CPUExecutionProvider"])
        assert session.get_modelmeta().custom_metadata_map["mien.schema"] == "au-v1"
        with torch.inference_mode():
            expected = network_from(weights, card.architecture)(torch.from_numpy(features)).numpy()
        # The page's own code, on a recording in two parts.
        page = (made.path / "MODEL_CARD.md").read_text()
        (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        said: list[Any] = []
        monkeypatch.chdir(made.path)
        exec(code, {"chunks": np.split(features, [20], axis=1), "print": said.append})  # noqa: S102 - our own page
        assert np.abs(np.concatenate(said, axis=1) - expected).max() < 1e-5

    def test_versions_count_up_and_the_highest_is_the_latest(self, folder: ServerFolder) -> None:
        made = [release(folder, 1), release(folder, 2), release(folder, 3, "3.1.4"), release(folder, 4)]
        assert [str(one.version) for one in made] == ["1.0.0", "1.1.0", "3.1.4", "3.2.0"]
        assert all(one.is_latest for one in made)
        assert (folder.releases / "latest").readlink() == Path("3.2.0")
        assert index_of(folder).latest == "3.2.0"
        assert [entry.version for entry in index_of(folder).releases] == ["1.0.0", "1.1.0", "3.1.4", "3.2.0"]

    def test_a_trial_or_an_earlier_version_does_not_become_the_latest(self, folder: ServerFolder) -> None:
        trial = release(folder, 1, "1.0.0-rc.1")
        assert not trial.is_latest
        assert index_of(folder).latest is None
        release(folder, 2, "2.0.0")
        assert not release(folder, 3, "1.9.0").is_latest
        assert not release(folder, 4, "2.1.0-rc.1").is_latest
        assert index_of(folder).latest == "2.0.0"

    def test_a_release_is_never_overwritten(self, folder: ServerFolder) -> None:
        made = release(folder)
        before = {path.name: path.read_bytes() for path in made.path.iterdir()}
        with pytest.raises(
            SettingsError, match=r"release 1\.0\.0 exists, and a release is never overwritten"
        ):
            release(folder, 2, "1.0.0")
        assert {path.name: path.read_bytes() for path in made.path.iterdir()} == before
        assert all(path.stat().st_mode & 0o777 == 0o444 for path in made.path.iterdir())

    def test_a_full_disk_leaves_nothing_half(self, folder: ServerFolder, small_disk: Path) -> None:
        tight = replace(folder, path=small_disk)
        shutil.copytree(folder.tls, tight.tls)
        first = release(tight)
        big = publish_model(folder.models, 2, Architecture(hidden_units=64))
        with pytest.raises(StorageError, match="No space left on device"):
            promote(tight, big, None, NOW)
        assert [str(one.version) for one in list_releases(tight)] == ["1.0.0"]
        assert sorted(path.name for path in tight.releases.iterdir()) == ["1.0.0", "index.json", "latest"]
        check_release(first.path, "1.0.0", key_of(tight))
        assert index_of(tight).latest == "1.0.0"

    @pytest.mark.parametrize("before", [0, 1])
    def test_a_disk_that_is_full_only_for_the_index_takes_the_release_back(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch, before: int
    ) -> None:
        def full(*_: object) -> None:
            raise StorageError("No space left on device")

        for round_ in range(1, before + 1):
            release(folder, round_)
        held = sorted(path.name for path in folder.releases.iterdir()) if before else []
        with monkeypatch.context() as disk:
            disk.setattr("mien_server.publishing.releases._write_index", full)
            with pytest.raises(StorageError):
                release(folder, 2)
        assert sorted(path.name for path in folder.releases.iterdir()) == held
        assert [one.is_latest for one in list_releases(folder)] == [True] * before
        assert release(folder, 2).is_latest, "the same version can still be had"

    def test_a_disk_that_is_full_only_for_the_index_rolls_nothing_back(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise StorageError("No space left on device")

        first, _ = release(folder), release(folder, 2)
        with monkeypatch.context() as disk:
            disk.setattr("mien_server.publishing.releases._write_index", full)
            with pytest.raises(StorageError):
                roll_back(folder, first.version, NOW)
        assert [one.is_latest for one in list_releases(folder)] == [False, True]
        assert index_of(folder).latest == "1.1.0"

    def test_a_damaged_model_is_not_released(self, folder: ServerFolder) -> None:
        model = publish_model(folder.models)
        content = bytearray((model / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (model / "model.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match="does not match its card"):
            promote(folder, model, None, NOW)
        assert not (folder.releases).exists()

    def test_a_death_between_folder_and_index_is_made_good(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        release(folder, 1)
        with monkeypatch.context() as death:
            death.setattr("mien_server.publishing.releases._write_index", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                release(folder, 2)
        (folder.releases / ".1.2.0.x").mkdir()
        assert index_of(folder).latest == "1.0.0"
        refresh_index(folder, NOW)
        assert index_of(folder).latest == "1.1.0"
        written = (folder.releases / "index.json").stat().st_mtime_ns
        refresh_index(folder, NOW)
        assert (folder.releases / "index.json").stat().st_mtime_ns == written, "a cache may keep it"
        assert not list(folder.releases.glob(".*"))


class TestRollBack:
    def test_the_latest_goes_back_and_forth_and_nothing_is_removed(self, folder: ServerFolder) -> None:
        release(folder, 1)
        release(folder, 2)
        roll_back(folder, parse_version("1.0.0"), NOW)
        assert index_of(folder).latest == "1.0.0"
        assert [(str(one.version), one.is_latest) for one in list_releases(folder)] == [
            ("1.0.0", True),
            ("1.1.0", False),
        ]
        roll_back(folder, parse_version("1.1.0"), NOW)
        assert index_of(folder).latest == "1.1.0"

    def test_it_never_leads_to_what_is_not_there_or_damaged(self, folder: ServerFolder) -> None:
        made = release(folder, 1)
        release(folder, 2)
        with pytest.raises(InputError, match=r"no release 4\.0\.0"):
            roll_back(folder, parse_version("4.0.0"), NOW)
        (made.path / "card.json").chmod(0o644)
        (made.path / "card.json").write_text((made.path / "card.json").read_text().replace("lab-1", "lab-9"))
        with pytest.raises(TrustError, match=r"release 1\.0\.0 in .* is damaged: .*card\.json is not what"):
            roll_back(folder, parse_version("1.0.0"), NOW)
        assert index_of(folder).latest == "1.1.0"


class TestKey:
    def test_it_is_made_once_and_is_the_owners_only(self, folder: ServerFolder) -> None:
        first = key_of(folder)
        assert (folder.tls / "release.key").stat().st_mode & 0o777 == 0o600
        assert key_of(folder) == first
        (folder.tls / "release.pub").unlink()
        assert key_of(folder) == first
        assert (folder.tls / "release.pub").exists()

    def test_two_first_uses_at_once_agree(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found: list[Ed25519PublicKey] = []

        def link(draft: Path, file: Path) -> None:
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr("mien_server.publishing.release_key.os.link", os_link)
                meanwhile.setattr("mien_server.publishing.release_key.os.getpid", lambda: own_pid + 1)
                found.append(key_of(folder))  # another process was quicker
            os_link(draft, file)

        os_link, own_pid = os.link, os.getpid()
        monkeypatch.setattr("mien_server.publishing.release_key.os.link", link)
        assert [key_of(folder)] == found
        assert not list(folder.tls.glob(".*"))

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda file: file.unlink(), "is gone, and sites trust no other"),
            (lambda file: file.chmod(0o644), "can be read by others. Run: chmod 600"),
            (lambda file: file.write_text("rubbish"), "not a usable release key"),
            (lambda file: file.write_bytes((file.parent / "ca.key").read_bytes()), "of another kind"),
        ],
    )
    def test_another_key_never_takes_its_place_silently(
        self, folder: ServerFolder, spoil: Any, words: str
    ) -> None:
        public = key_of(folder)
        spoil(folder.tls / "release.key")
        with pytest.raises(TrustError, match=words):
            release_key(folder.tls)
        assert public is not None


class TestModelCard:
    def test_the_page_says_what_must_be_said(self, folder: ServerFolder) -> None:
        page = (release(folder).path / "MODEL_CARD.md").read_text()
        for words in (
            "release 1.0.0",
            "## Intended use",
            "Schema `au-v1`: 40 channels at 25 Hz",
            "| valence | 0.260 | 0.500 | 0.125 (lab-2) |",
            "| arousal | not known | not known | not known |",
            "7,500 (5.0 minutes at 25 Hz)",
            "**ε: no mechanism.**",
            "**Action-unit traces are not anonymous.**",
            "Measured with `mien lab reidentify`",
            "too few for a rate that holds elsewhere",
            f"opset {OPSET}",
            "settings are not known any more",
        ):
            assert words in page, words

    def test_a_mechanism_is_named_with_its_epsilon(self, folder: ServerFolder) -> None:
        card = release(folder).card
        assert card.release is not None
        spent = card.release.model_copy(update={"mechanism": "user-level DP-FedAvg", "epsilon": 4.5})
        page = model_card(card.model_copy(update={"release": spent}))
        assert "**ε: 4.5**, by user-level DP-FedAvg." in page
        assert "no mechanism" not in page

    def test_what_a_window_model_gives_is_said(self, folder: ServerFolder) -> None:
        made = release(
            folder, architecture=Architecture(predicts="window", bidirectional=True, hidden_units=3)
        )
        page = (made.path / "MODEL_CARD.md").read_text()
        assert "one pair per window" in page
        assert "needs a whole recording" in page

    def test_the_channels_that_are_never_given_are_the_agents(self) -> None:
        assert NOT_GIVEN == EXPERIMENTAL


class TestChoice:
    def test_rounds_latest_and_releases_are_found(self, folder: ServerFolder) -> None:
        made = release(folder, 3)
        for text in (f"{RUN}/3", f"{RUN}/round-0003", "latest"):
            assert published_model(folder, text) == folder.models / RUN / "round-0003"
        assert any_model(folder, "1.0.0") == made.path

    @pytest.mark.parametrize(
        "text",
        ["", "/", "../x/1", f"{RUN}/..", f"{RUN}/../{RUN}/1", "/etc/1", RUN, f"{RUN}/-1", "..../1",
         f"{RUN}/1\n", f"{RUN}/9", "none/1", "latest/../..", "a" * 5000 + "/1", f"{RUN}/1/", "\0/1"],
    )  # fmt: skip
    def test_nothing_else_is(self, folder: ServerFolder, text: str) -> None:
        publish_model(folder.models)
        with pytest.raises(InputError, match="mien server models"):
            published_model(folder, text)

    @pytest.mark.parametrize("text", ["..", "1.0.0", "../releases", "index.json", ""])
    def test_nor_as_a_release(self, folder: ServerFolder, text: str) -> None:
        with pytest.raises(MienError):
            any_model(folder, text)


def test_two_models_side_by_side(folder: ServerFolder) -> None:
    one, other = publish_model(folder.models, 1), publish_model(folder.models, 4)
    rows = {row.what: row for row in compare(one, other)}
    assert rows["valence CCC, mean over recordings"].change == pytest.approx(0.03)
    assert rows["arousal CCC, pooled"].change is None
    assert rows["run, round"].second == f"{RUN}, 4"
    weights = [read_published(path)[1] for path in (one, other)]
    flat = [np.concatenate([array.ravel() for _, array in sorted(found.items())]) for found in weights]
    assert rows["distance of the weights"].second == pytest.approx(
        np.linalg.norm(flat[0] - flat[1]), rel=1e-6
    )
    shutil.rmtree(other)
    publish_model(folder.models, 4, Architecture(kind="rnn", hidden_units=3))
    assert "distance of the weights" not in {row.what for row in compare(one, other)}


def test_the_index_is_what_a_program_reads_without_us(folder: ServerFolder) -> None:
    made = release(folder)
    entry = json.loads((folder.releases / "index.json").read_bytes())["index"]["releases"][0]
    assert entry["bytes"] == {name: (made.path / name).stat().st_size for name in FILE_LIMITS_BYTES}
    listed = subprocess.run(["sha256sum", "SHA256SUMS"], cwd=made.path, capture_output=True, text=True)
    assert listed.stdout.split()[0] == entry["sums_sha256"]
