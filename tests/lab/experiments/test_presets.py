"""Presets are configurations that hold, and say what their protocols ask for."""

from pathlib import Path

import pytest

from mien_common.errors import SettingsError
from mien_lab.experiments.config import read_config
from mien_lab.experiments.presets import PRESETS, preset, preset_text

NEED_DATA = ("mase2021", "avec2016")


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_printed_is_what_runs(name: str, tmp_path: Path) -> None:
    config, text = preset(name, tmp_path / 'a "quoted" Ördner' if name in NEED_DATA else None)
    saved = tmp_path / "edited.toml"
    saved.write_text(text, encoding="utf-8")
    assert read_config(saved) == config
    assert config.name == name
    assert text.startswith("# ")


@pytest.mark.parametrize("name", NEED_DATA)
def test_the_data_are_asked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"preset {name} needs data. Give their folder with --data"):
        preset(name)
    assert 'path = "PATH"' in preset_text(name)
    assert preset(name, tmp_path)[0].corpus.path == tmp_path


@pytest.mark.parametrize("name", sorted({*PRESETS} - {*NEED_DATA}))
def test_data_that_are_made_are_not_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"preset {name} makes its own data"):
        preset(name, tmp_path)


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        SettingsError, match="no preset 'recola'; there are mase2021, avec2016, puppet, synthetic"
    ):
        preset("recola")


def test_the_papers_protocol_is_the_papers() -> None:
    config, _ = preset("mase2021", Path("/data"))
    assert config.protocol == "mase2021"
    assert (config.split.kind, config.split.folds) == ("k-fold", 8)
    assert config.scaling == "participant"
    training = config.training
    assert (training.mse_share, training.optimiser, training.learning_rate) == (1.0, "adam", 1e-4)
    assert training.window_s * 25 == 600
    assert config.rounds * training.local_epochs == 70
    assert {model.architecture.predicts for model in config.models} == {"window"}
    names = [model.name for model in config.models]
    assert names == ["RNN", "LSTM", "GRU", "BiLSTM", "BiGRU", "residual BiLSTM", "residual BiGRU"]
    for model in config.models:
        shape = model.architecture
        assert shape.kind.upper() in model.name
        assert shape.bidirectional == ("Bi" in model.name)
        assert shape.residual == ("residual" in model.name)
    assert config.split.validation_share > 0  # by which the epoch is chosen: never by the test fold


def test_avec_is_the_challenges() -> None:
    config, _ = preset("avec2016", Path("/data"))
    assert config.protocol == "avec"
    assert (config.split.kind, config.corpus.gold_standard) == ("official", "given")
    assert config.ratings.lag_s == "grid"
    assert config.ratings.centre
    assert config.ratings.scale
    assert config.training.mse_share == 0.0
