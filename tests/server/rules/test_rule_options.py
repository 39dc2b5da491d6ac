"""What an operator gives to ``mien server run`` is the rule that the run is started with."""

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mien_server import cli
from mien_server.folder import ServerFolder
from mien_server.rules.settings import RuleSettings
from mien_server.runs.settings import RunSettings


def run(folder: ServerFolder, *options: str) -> Result:
    return CliRunner().invoke(cli.app, ["run", "--rounds", "1", "--dir", str(folder.path), *options])


def test_fedavg_is_what_is_run_without_a_word(folder: ServerFolder, submitted: list[RunSettings]) -> None:
    found = run(folder)

    assert found.exit_code == 0
    assert submitted[0].rule == RuleSettings(name="fedavg")
    assert submitted[0].quorum == 1
    assert found.stdout == "run r: 1 rounds, rule fedavg, enrolled: lab-1\n"


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (
            ["--rule", "fedadam", "--server-learning-rate", "0.02", "--beta-1", "0.8", "--beta-2", "0.9"],
            RuleSettings(name="fedadam", server_learning_rate=0.02, beta_1=0.8, beta_2=0.9),
        ),
        (["--rule", "fedyogi", "--tau", "0.1"], RuleSettings(name="fedyogi", tau=0.1)),
        (["--rule", "fedprox", "--proximal-mu", "0.5"], RuleSettings(name="fedprox", proximal_mu=0.5)),
        (
            ["--rule", "fedavgm", "--server-momentum", "0.5", "--weighting", "sites"],
            RuleSettings(name="fedavgm", server_momentum=0.5, weighting="sites"),
        ),
        (
            ["--rule", "trimmed-mean", "--trimmed-share", "0.25"],
            RuleSettings(name="trimmed-mean", trimmed_share=0.25),
        ),
        (
            ["--rule", "multi-krum", "--byzantine-sites", "2", "--selected-sites", "3"],
            RuleSettings(name="multi-krum", byzantine_sites=2, selected_sites=3),
        ),
    ],
)
def test_every_number_reaches_the_run(
    folder: ServerFolder, submitted: list[RunSettings], options: list[str], rule: RuleSettings
) -> None:
    found = run(folder, *options)

    assert found.exit_code == 0, found.output
    assert submitted[0].rule == rule


def test_scaffold_is_refused_with_a_word_on_where_it_is(
    folder: ServerFolder, submitted: list[RunSettings]
) -> None:
    found = run(folder, "--rule", "scaffold")

    assert "mien lab compare" in str(found.exception)
    assert submitted == []
