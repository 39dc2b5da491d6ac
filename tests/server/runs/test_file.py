"""A run's settings in a file, beneath options: what is wrong is told with file and key, in one sentence."""

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mien_common.errors import MienError, SettingsError
from mien_server import cli
from mien_server.folder import ServerFolder
from mien_server.runs.file import Source, locations, merged, read_run_file, start_time
from mien_server.runs.journal import Journal
from mien_server.runs.queue import read_ticket, submit
from mien_server.runs.settings import RunSettings, checked

NOW = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)

WHOLE = """
rounds = 20
schema_name = "au-v1"
quorum = 3
deadline_s = 300
wait_s = 60
fraction = 0.5
seed = 11
evaluate = false
max_update_norm = 50.0
at = 2999-11-24T22:00:00

[rule]
name = "fedadam"
tau = 0.01

[training]
local_epochs = 3
window_s = 8
optimiser = "sgd"
momentum = 0.9

[architecture]
kind = "lstm"
hidden_units = 16
"""


def run(folder: ServerFolder, *arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["run", *map(str, arguments), "--dir", str(folder.path)])


def said(found: Result) -> str:
    assert isinstance(found.exception, MienError), found.output
    text = str(found.exception)
    assert "\n" not in text.removesuffix("\n")
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(WHOLE)
    return path


def test_every_setting_can_be_in_the_file(
    folder: ServerFolder, submitted: list[RunSettings], file: Path
) -> None:
    found = run(folder, file)
    assert found.exit_code == 0, found.output
    settings = submitted[0]
    assert settings == RunSettings.model_validate(
        {
            "rounds": 20,
            "quorum": 3,
            "deadline_s": 300,
            "wait_s": 60,
            "fraction": 0.5,
            "seed": 11,
            "evaluate": False,
            "max_update_norm": 50,
            "rule": {"name": "fedadam", "tau": 0.01},
            "training": {"local_epochs": 3, "window_s": 8, "optimiser": "sgd", "momentum": 0.9},
            "architecture": {"kind": "lstm", "hidden_units": 16},
        }
    )
    assert set(RunSettings.model_fields) <= {
        location[0] for location in locations(read_run_file(file).values)
    }


def test_it_is_shown_before_it_starts_as_a_file_that_could_be_given(
    folder: ServerFolder, submitted: list[RunSettings], file: Path, tmp_path: Path
) -> None:
    shown = run(folder, file, "--json").stderr
    again = tmp_path / "again.toml"
    again.write_text(shown)
    values = read_run_file(again).values
    assert checked(values, source=Source(again)) == submitted[0]
    assert json.loads(run(folder, file, "--json").stdout.splitlines()[0])["event"] == "started"


def test_options_override_the_file(folder: ServerFolder, submitted: list[RunSettings], file: Path) -> None:
    found = run(
        *(folder, file, "--rounds", 2, "--local-epochs", 1, "--evaluate", "--tau", 0.5, "--model", "gru")
    )
    assert found.exit_code == 0, found.output
    (settings,) = submitted
    assert (settings.rounds, settings.training.local_epochs, settings.evaluate) == (2, 1, True)
    assert (settings.rule.name, settings.rule.tau, settings.architecture.kind) == ("fedadam", 0.5, "gru")
    assert (settings.training.window_s, settings.architecture.hidden_units) == (8, 16), (
        "the rest is the file's"
    )


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("rounds = 0", r"run\.toml: rounds: should be greater than or equal to 1, not 0"),
        ("rounds = true", r"run\.toml: rounds: should be a valid integer, not True"),
        ('rounds = "3"', r"run\.toml: rounds: should be a valid integer, not '3'"),
        ("quorum = 2", r"run\.toml: rounds: is missing"),
        ("rounds = 1\nlocal_epoch = 3", r"run\.toml: local_epoch: there is no such key"),
        ("rounds = 1\nzzz = 3", r"zzz: there is no such key\. There are rounds, .*, at\."),
        ("rounds = 1\natt = 3", r"att: there is no such key\. Did you mean at\?"),
        (
            "rounds = 1\n[training]\nlocal_epoch = 3",
            r"training\.local_epoch: .* Did you mean local_epochs\?",
        ),
        ('rounds = 1\nschema_name = "au-v2"', r"run\.toml: schema_name: should be 'au-v1', not 'au-v2'"),
        ('rounds = 1\nschema = "au-v1"', r"run\.toml: schema: .* Did you mean schema_name\?"),
        ("rounds = 1\nfraction = 0.0", r"run\.toml: fraction: should be greater than 0"),
        ("rounds = 1\nfraction = 1.5", r"run\.toml: fraction: should be less than or equal to 1"),
        ("rounds = 1\nfraction = nan", r"run\.toml: fraction: "),
        ("rounds = 1\nmax_update_norm = inf", r"run\.toml: max_update_norm: should be a finite number"),
        ("rounds = 1\ntraining = 5", r"run\.toml: training: should be a valid dictionary"),
        (
            "rounds = 1\n[training]\nmomentum = 0.5",
            r"run\.toml: training\.momentum 0\.5 is for optimiser sgd",
        ),
        ('rounds = 1\nrule = {name = "fedsomething"}', r"run\.toml: rule\.name: should be 'fedavg'"),
        ('rounds = 1\nrule = {name = "scaffold"}', r"run\.toml: rule\.name: scaffold is for `mien lab"),
        ('rounds = 1\nrule = {name = "krum"}', r"run\.toml: rule\.byzantine_sites: tell krum"),
        ("rounds = 1\nrule = {tau = 0.1}", r'run\.toml: rule\.tau: rule\.name = "fedavg" does not look'),
        (
            'rounds = 1\nquorum = 2\nrule = {name = "median"}',
            r'run\.toml: quorum: rule\.name = "median", .* Give quorum = 3 or more',
        ),
        ("rounds = 1\narchitecture = {channels = 12}", r"run\.toml: architecture\.channels: .* 40 channels"),
        ('rounds = 1\narchitecture = {predicts = "window"}', r"run\.toml: architecture\.predicts: "),
        ("rounds = 1\nat = 2020-01-01T00:00:00Z", r"run\.toml: at: 2020-01-01 00:00\+00:00 is over"),
        ("rounds = 1\nat = 22:00:00", r"run\.toml: at: '22:00:00' is not a date and time"),
        ("rounds = 1\nat = 2999-11-24", r"run\.toml: at: '2999-11-24' is not a date and time"),
        ("rounds = 1\nat = 12", r"run\.toml: at: '12' is not a date and time"),
        ("rounds = 1\nrule = {", r"run\.toml is not TOML: .* Mend it by hand"),
        ("rounds = 1\nrounds = 2", r"run\.toml is not TOML: Cannot overwrite"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(
    folder: ServerFolder, submitted: list[RunSettings], tmp_path: Path, content: str, named: str
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(content)
    assert re.search(named, said(run(folder, file)))
    assert submitted == []


def test_files_that_are_none(folder: ServerFolder, submitted: list[RunSettings], tmp_path: Path) -> None:
    assert "no-such.toml cannot be read" in said(run(folder, tmp_path / "no-such.toml"))
    for name, content in (("bytes.toml", b"\xff\xfe"), ("large.toml", b"#" * 100_000)):
        (tmp_path / name).write_bytes(content)
        assert f"{name} cannot be read as a run's settings" in said(run(folder, tmp_path / name))
    assert "cannot be read" in said(run(folder, tmp_path))
    assert "how many rounds?" in said(run(folder))


def test_an_option_that_is_wrong_is_told_as_an_option_also_over_a_file(
    folder: ServerFolder, submitted: list[RunSettings], file: Path
) -> None:
    assert said(run(folder, file, "--rounds", -1)).startswith("--rounds: ")
    assert f"{file}: rule.tau: --rule median does not look at it" in said(
        run(folder, file, "--rule", "median")
    )


def test_the_quorum_that_is_left_out_is_of_those_who_are_asked() -> None:
    assert checked({"rounds": 1, "fraction": 0.3}, enrolled=10).quorum == 2
    assert checked({"rounds": 1, "fraction": 0.07}, enrolled=100).quorum == 4, "7 of 100, not 8"
    assert checked({"rounds": 1}, enrolled=10).quorum == 6


class TestAt:
    @pytest.mark.parametrize(
        ("given", "moment"),
        [
            ("2026-11-24T22:00+01:00", dt.datetime(2026, 11, 24, 21, tzinfo=dt.UTC)),
            ("2026-11-24 22:00Z", dt.datetime(2026, 11, 24, 22, tzinfo=dt.UTC)),
            ("2026-11-24T22:00", dt.datetime(2026, 11, 24, 22).astimezone(dt.UTC)),
            (dt.datetime(2026, 11, 24, 22), dt.datetime(2026, 11, 24, 22).astimezone(dt.UTC)),
        ],
    )
    def test_a_moment(self, given: object, moment: dt.datetime) -> None:
        assert start_time(given, "--at", NOW) == moment

    @pytest.mark.parametrize(
        "given", ["tomorrow", "", "2026-11-24", "9999-12-31T23:59-23:00", "0001-01-01T00:00"]
    )
    def test_what_is_none(self, given: str) -> None:
        with pytest.raises(SettingsError, match=r"^--at: "):
            start_time(given, "--at", NOW)

    def test_the_run_is_queued_until_then(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch, file: Path
    ) -> None:
        monkeypatch.setattr("mien_server.runs.start.check_ready", lambda *_: None)
        found = run(folder, file, "--detach")
        ticket = read_ticket(folder, found.stdout.strip())
        assert ticket is not None
        assert ticket.not_before == dt.datetime(2999, 11, 24, 22).astimezone(dt.UTC)
        listed = CliRunner().invoke(cli.app, ["list", "--dir", str(folder.path)]).stdout
        assert re.search(r"waiting +0/20 rounds .*fedadam +starts at 2999-11-24 22:00", listed)


class TestResume:
    @pytest.fixture
    def died(self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> str:
        """A run that died in its second round."""
        monkeypatch.setattr("mien_server.runs.start.check_ready", lambda *_: None)
        settings = checked({"rounds": 20, "quorum": 1, "rule": {"name": "fedadam", "tau": 0.01}})
        name = submit(folder, settings, NOW)
        (folder.queue / f"{name}.json").unlink()
        journal = Journal(folder.runs / name)
        journal.write("started", run=name)
        journal.close()
        return name

    def test_it_is_queued_with_its_own_settings_which_are_shown(
        self, folder: ServerFolder, died: str
    ) -> None:
        found = run(folder, "--resume", died, "--detach")
        assert found.exit_code == 0, found.output
        assert found.stdout == f"{died}\n"
        assert "rounds = 20" in found.stderr
        ticket = read_ticket(folder, died)
        assert ticket is not None
        assert ticket.waits

    def test_the_newest_that_is_not_finished_is_meant(self, folder: ServerFolder, died: str) -> None:
        assert run(folder, "--resume", "--detach").stdout == f"{died}\n"
        again = run(folder, "--resume", "--detach")
        assert "waits or goes on already" in again.stderr

    def test_the_same_settings_may_be_given_again(
        self, folder: ServerFolder, died: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "run.toml"
        file.write_text('rounds = 20\nat = 2020-01-01T00:00:00\nrule = {name = "fedadam", tau = 0.01}')
        assert run(folder, file, "--resume", "--detach").stdout == f"{died}\n"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--rounds", "30"], "--rounds: the run {} was started with 20, this says 30. A run keeps its"),
            (["--tau", "0.5"], "--tau: the run {} was started with 0.01, this says 0.5"),
            (["--rule", "fedavg"], "--rule: the run {} was started with 'fedadam', this says 'fedavg'"),
            (["--local-epochs", "9"], "--local-epochs: the run {} was started with 2, this says 9"),
            (["--fraction", "7"], "--fraction: Input should be less"),
        ],
    )
    def test_other_settings_are_refused(
        self, folder: ServerFolder, died: str, options: list[str], words: str
    ) -> None:
        assert said(run(folder, "--resume", died, *options)).startswith(words.format(died))

    def test_another_file_is_refused_by_its_key(
        self, folder: ServerFolder, died: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "run.toml"
        file.write_text("rounds = 20\nseed = 8")
        words = said(run(folder, file, "--resume"))
        assert words.startswith(f"{file}: seed: the run {died} was started with 7, this says 8")

    def test_a_finished_run_is_refused_before_anything_is_shown(
        self, folder: ServerFolder, died: str
    ) -> None:
        journal = Journal(folder.runs / died)
        journal.write("finished", run=died)
        journal.close()
        found = run(folder, "--resume", died)
        assert "is finished: there is nothing to resume" in said(found)
        assert found.stderr == ""

    def test_names_that_lead_elsewhere_or_nowhere(self, folder: ServerFolder, died: str) -> None:
        for name in ("../x", "../../etc/passwd", ".."):
            assert "is not the name of a run" in said(run(folder, "--resume", name))
            assert "is not the name of a run" in said(
                CliRunner().invoke(cli.app, ["show", name, "--dir", str(folder.path)])
            )
        assert "there is no run nothing in" in said(run(folder, "--resume", "nothing"))
        stopped = CliRunner().invoke(cli.app, ["stop", died, "--dir", str(folder.path)])
        assert "is over already (died)" in said(stopped)

    def test_show_says_all(self, folder: ServerFolder, died: str) -> None:
        found = CliRunner().invoke(cli.app, ["show", died, "--dir", str(folder.path)])
        assert "state    died: its ServerApp ended without a word" in found.stdout
        assert 'name = "fedadam"' in found.stdout
        whole = json.loads(
            CliRunner().invoke(cli.app, ["show", died, "--json", "--dir", str(folder.path)]).stdout
        )
        assert (whole["state"], whole["rounds_done"], whole["settings"]["rounds"]) == ("died", 0, 20)
        assert [event["event"] for event in whole["events"]] == ["started"]


@pytest.mark.parametrize(
    ("below", "above", "both"),
    [
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": 5}, {"a": {"b": 3}}, {"a": {"b": 3}}),
    ],
)
def test_tables_are_merged(below: dict[str, Any], above: dict[str, Any], both: dict[str, Any]) -> None:
    assert merged(below, above) == both


def test_settings_are_called_as_they_were_given() -> None:
    source = Source(Path("run.toml"), frozenset({("rule", "name")}))
    assert source.name(("rule", "name")) == "--rule"
    assert source.name(("rule", "tau")) == "run.toml: rule.tau"
    assert source.setting(("quorum",), 3) == "quorum = 3"
    assert Source().setting(("quorum",), 3) == "--quorum 3"


def test_the_file_in_the_documentation_shows_the_defaults(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()
    file = tmp_path / "run.toml"
    file.write_text(page.split("```toml\n")[1].split("```")[0])
    values = read_run_file(file).values
    assert checked(values, source=Source(file)) == RunSettings(rounds=20, quorum=3)
    shown = set(locations(values)) | {("architecture", "channels"), ("architecture", "predicts")}
    kept = locations(RunSettings(rounds=20, quorum=3).model_dump())
    assert {location for location in kept if location[0] != "rule"} <= shown, "every setting is on the page"
