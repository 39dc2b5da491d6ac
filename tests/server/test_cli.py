"""The operator's commands when the server is down: what they print, one line when something is wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from mien_common.architecture import Architecture
from mien_common.cli import main
from mien_common.errors import MienError
from mien_server import cli
from mien_server.folder import ServerFolder, open_folder
from mien_server.runs.settings import RunSettings

from ..made_models import RUN, publish_model

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """``mien server …`` by its own entry point, but in this process: starting one takes a second or more."""

    def typed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        line, code = ["mien", "server", *map(str, arguments)], 0
        monkeypatch.setattr(sys, "argv", line)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(line, code, said.out, said.err)

    return typed


def test_init_makes_a_folder_that_opens(tmp_path: Path, command: Command) -> None:
    made = command("init", tmp_path / "s", "--host", "lab.example.org", "--ip", "192.0.2.7", "--port", "7001")

    assert made.returncode == 0, made.stderr
    settings = open_folder(tmp_path / "s").settings
    assert (settings.hosts, settings.ips, settings.port) == (("lab.example.org",), ("192.0.2.7",), 7001)
    assert "ca.crt" in made.stdout


def test_a_wrong_setting_leaves_no_folder_behind(tmp_path: Path, command: Command) -> None:
    made = command("init", tmp_path / "s", "--ip", "300.0.0.1")

    assert made.returncode == 1
    assert made.stderr.startswith("error: ")
    assert "ips" in made.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("health",),
        ("run", "--rounds", "1"),
        ("run", "--rounds", "0"),
        ("enrol", "no-such-file.pub", "--name", "lab-1"),
    ],
)
def test_an_error_is_one_line(folder: ServerFolder, arguments: tuple[str, ...], command: Command) -> None:
    found = command(*arguments, "--dir", folder.path)

    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1


def test_a_process_of_its_own_says_the_same_and_no_more(folder: ServerFolder, command: Command) -> None:
    line = [sys.executable, "-m", "mien_common", "server", "health", "--dir", str(folder.path)]
    found = subprocess.run(line, capture_output=True, text=True, timeout=60)
    here = command("health", "--dir", folder.path)
    assert (found.returncode, found.stdout, found.stderr) == (here.returncode, here.stdout, here.stderr)


class TestTheModelOfARun:
    """What the operator chose is what the run is started with."""

    @staticmethod
    def started(
        folder: ServerFolder, submitted: list[RunSettings], *options: str
    ) -> tuple[Architecture, str]:
        """What a run would train, and what the command said of it."""
        found = CliRunner().invoke(cli.app, ["run", "--rounds", "1", "--dir", str(folder.path), *options])
        assert found.exit_code == 0, found.output
        assert found.stdout == "run r: 1 rounds, rule fedavg, enrolled: lab-1\n"
        return submitted[0].architecture, found.stderr

    def test_nothing_said_is_the_default_without_a_word(
        self, folder: ServerFolder, submitted: list[RunSettings]
    ) -> None:
        assert self.started(folder, submitted) == (Architecture(), "")

    @pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
    def test_every_choice_arrives(
        self, folder: ServerFolder, submitted: list[RunSettings], kind: Literal["gru", "lstm", "rnn"]
    ) -> None:
        options = ["--model", kind, "--residual", "--hidden-units", "12", "--layers", "3"]
        asked = Architecture(kind=kind, residual=True, hidden_units=12, layers=3)
        assert self.started(folder, submitted, *options) == (asked, "")

    def test_a_model_that_cannot_be_watched_live_is_warned_of(
        self, folder: ServerFolder, submitted: list[RunSettings]
    ) -> None:
        architecture, said = self.started(folder, submitted, "--model", "lstm", "--bidirectional")
        assert architecture == Architecture(kind="lstm", bidirectional=True)
        assert said.startswith("warning: the model (bidirectional LSTM, 2 layers of 64 units) needs whole")
        assert "mien agent watch" in said

    @pytest.mark.parametrize("wrong", [("--hidden-units", "0"), ("--layers", "17")])
    def test_an_impossible_size_names_its_option(
        self, folder: ServerFolder, wrong: tuple[str, str], command: Command
    ) -> None:
        found = command("run", "--rounds", "1", *wrong, "--dir", folder.path)
        assert found.returncode == 1
        assert found.stderr.startswith(f"error: {wrong[0]}: ")
        assert found.stderr.count("\n") == 1


def test_no_models_yet(folder: ServerFolder, command: Command) -> None:
    assert "no models yet" in command("models", "--dir", folder.path).stdout
    assert command("models", "--json", "--dir", folder.path).stdout == ""


class TestReleases:
    """From a published model to a release and back, as an operator types it."""

    @staticmethod
    def said(folder: ServerFolder, *arguments: str) -> str:
        found = CliRunner().invoke(cli.app, [*arguments, "--dir", str(folder.path)])
        assert found.exit_code == 0, found.output
        return found.output

    def test_promoted_listed_rolled_back_compared(self, folder: ServerFolder) -> None:
        assert "no releases yet" in self.said(folder, "releases")
        publish_model(folder.models, 1)
        assert "released 1.0.0: run 2026-11-23-001, round 1" in self.said(folder, "promote", f"{RUN}/1")
        publish_model(folder.models, 2)
        assert "it is the latest now" in self.said(folder, "promote", "latest", "--version", "1.2.0")
        assert "it is a trial, so" in self.said(folder, "promote", "latest", "--version", "2.0.0-rc.1")
        listed = self.said(folder, "releases").splitlines()
        assert [line.split()[0] for line in listed[:3]] == ["1.0.0", "1.2.0", "2.0.0-rc.1"]
        assert [line.endswith("<- latest") for line in listed[:3]] == [False, True, False]
        assert listed[3].startswith("signed with the key ")
        assert "the latest release is 1.0.0 now" in self.said(folder, "rollback", "1.0.0")
        lines = [json.loads(line) for line in self.said(folder, "releases", "--json").splitlines()]
        assert [(line["version"], line["latest"], line["round"]) for line in lines] == [
            ("1.0.0", True, 1),
            ("1.2.0", False, 2),
            ("2.0.0-rc.1", False, 2),
        ]
        assert "valence CCC, pooled" in self.said(folder, "compare-models", "1.0.0", f"{RUN}/2")
        rows = self.said(folder, "compare-models", "1.0.0", "latest", "--json").splitlines()
        assert {"what": "run, round", "first": f"{RUN}, 1", "second": f"{RUN}, 2", "change": None} in map(
            json.loads, rows
        )

    @pytest.mark.parametrize(
        "arguments",
        [
            ("promote", "../x/1"),
            ("promote", "latest"),
            ("promote", "latest", "--version", "../1.0.0"),
            ("rollback", "1.0"),
            ("rollback", "1.0.0"),
            ("compare-models", "1.0.0", "../.."),
        ],
    )
    def test_what_cannot_be_is_an_error_and_leaves_nothing(
        self, folder: ServerFolder, arguments: tuple[str, ...]
    ) -> None:
        found = CliRunner().invoke(cli.app, [*arguments, "--dir", str(folder.path)])
        assert isinstance(found.exception, MienError)
        assert "\n" not in str(found.exception)
        assert not folder.releases.exists() or not list(folder.releases.iterdir())


@pytest.mark.parametrize("name", cli.ORDER)
def test_every_command_explains_itself(name: str, command: Command) -> None:
    found = command(name, "--help")

    assert found.returncode == 0
    assert "Usage:" in found.stdout
