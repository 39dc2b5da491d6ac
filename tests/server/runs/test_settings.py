"""Settings of a run: checked where they enter, kept beside its events."""

import datetime as dt

import pytest

from mien_common.errors import SettingsError
from mien_common.messages import TrainingSettings
from mien_server.folder import ServerFolder
from mien_server.rules.settings import RuleSettings
from mien_server.runs.settings import checked, create_run, majority, read_run

DAY = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)


def test_a_run_is_named_by_its_day_and_number(folder: ServerFolder) -> None:
    settings = checked({"rounds": 3, "quorum": 2, "training": TrainingSettings(local_epochs=5).model_dump()})

    first, second = create_run(folder, settings, DAY), create_run(folder, settings, DAY)

    assert [first.name, second.name] == ["2026-11-23-001", "2026-11-23-002"]
    assert read_run(first) == settings
    assert read_run(first).training.local_epochs == 5


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"rounds": 0}, "--rounds"),
        ({"quorum": 0}, "--quorum"),
        ({"deadline_s": -1}, "--deadline"),
        ({"deadline_s": float("nan")}, "--deadline"),
        ({"seed": -1}, "--seed"),
        ({"training": {"learning_rate": 2}}, "--learning-rate"),
        ({"training": {"local_epochs": 0}}, "--local-epochs"),
    ],
)
def test_the_option_that_is_wrong_is_named(values: dict[str, object], option: str) -> None:
    with pytest.raises(SettingsError, match=option):
        checked({"rounds": 1, "quorum": 1} | values)


def test_a_window_is_named_as_its_option_is() -> None:
    with pytest.raises(SettingsError, match="--window-s"):
        checked({"rounds": 1, "quorum": 1, "training": {"window_s": -3}})


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"name": "fedsomething"}, "--rule: .*'bulyan'"),
        ({"name": "fedprox", "proximal_mu": 0}, "--proximal-mu"),
        ({"name": "fedadam", "server_learning_rate": -1}, "--server-learning-rate"),
        ({"name": "fedadam", "server_learning_rate": float("nan")}, "--server-learning-rate"),
        ({"name": "trimmed-mean", "trimmed_share": 0.5}, "--trimmed-share"),
        ({"name": "krum", "byzantine_sites": -1}, "--byzantine-sites"),
        ({"name": "krum"}, "--byzantine-sites: tell krum how many sites may be hostile"),
        ({"name": "bulyan", "byzantine_sites": 0}, "--byzantine-sites: tell bulyan"),
        ({"name": "scaffold"}, "--rule: scaffold is for `mien lab compare`"),
        ({"byzantine_sites": 1}, "--byzantine-sites: --rule fedavg does not look at it. .* krum, multi-krum"),
        ({"name": "fedavgm", "tau": 0.1}, "--tau: --rule fedavgm .* fedadam, fedyogi, fedadagrad"),
        ({"name": "median", "weighting": "sites"}, "--weighting: --rule median"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_option(rule: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        checked({"rounds": 1, "quorum": 20, "rule": rule})


def test_a_quorum_that_is_too_small_for_the_rule_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"--quorum: --rule bulyan.* at least 7 sites .* --quorum 7 or more"
    ):
        checked({"rounds": 1, "quorum": 6, "rule": {"name": "bulyan", "byzantine_sites": 1}})


@pytest.mark.parametrize(("enrolled", "quorum"), [(3, 7), (10, 7), (20, 11)])
def test_a_quorum_that_is_left_out_is_a_majority_and_enough_for_the_rule(enrolled: int, quorum: int) -> None:
    values = {"rounds": 1, "rule": {"name": "bulyan", "byzantine_sites": 1}}
    assert checked(values, enrolled).quorum == quorum


def test_a_rule_is_kept_with_the_run(folder: ServerFolder) -> None:
    settings = checked({"rounds": 1, "quorum": 2, "rule": {"name": "fedadam", "tau": 0.01}})
    assert read_run(create_run(folder, settings, DAY)).rule == RuleSettings(name="fedadam", tau=0.01)


@pytest.mark.parametrize(("sites", "quorum"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_the_default_quorum_is_a_majority(sites: int, quorum: int) -> None:
    assert majority(sites) == quorum


def test_damaged_settings_are_named(folder: ServerFolder) -> None:
    run = create_run(folder, checked({"rounds": 1, "quorum": 1}), DAY)
    (run / "settings.json").write_text("{}")

    with pytest.raises(SettingsError, match=r"settings\.json"):
        read_run(run)
