"""Settings of a run: checked where they enter, kept beside its events."""

import datetime as dt

import pytest

from mien_common.errors import SettingsError
from mien_common.messages import TrainingSettings
from mien_server.folder import ServerFolder
from mien_server.run_settings import checked, create_run, majority, read_run

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


@pytest.mark.parametrize(("sites", "quorum"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_the_default_quorum_is_a_majority(sites: int, quorum: int) -> None:
    assert majority(sites) == quorum


def test_damaged_settings_are_named(folder: ServerFolder) -> None:
    run = create_run(folder, checked({"rounds": 1, "quorum": 1}), DAY)
    (run / "settings.json").write_text("{}")

    with pytest.raises(SettingsError, match=r"settings\.json"):
        read_run(run)
