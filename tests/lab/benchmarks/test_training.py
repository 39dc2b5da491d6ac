"""The training benchmark compares like with like."""

from pathlib import Path

import pytest
import torch

from mien_common.architecture import Architecture
from mien_lab.benchmarks import training


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "RECORDINGS", 2)
    monkeypatch.setattr(training, "SECONDS", 45.0)
    monkeypatch.setattr(training, "TURNS", 1)
    monkeypatch.setattr(training, "OTHERS", {"LSTM": Architecture(kind="lstm", layers=1, hidden_units=8)})
    monkeypatch.setattr(training, "GPU_RECORDINGS", 2)


@pytest.mark.usefixtures("small")
def test_both_ways_end_at_one_loss_and_a_missing_gpu_is_said(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    said: list[str] = []
    speed, loss, *gpu = training.training_speed(tmp_path, said.append)
    assert torch.get_num_threads() == threads
    assert speed.name == "training-speed"
    assert speed.goal == 2.0
    assert speed.ratio == pytest.approx(speed.value / speed.peer_value, abs=1e-3)
    assert loss.name == "training-loss"
    assert loss.reached, "the two ways train something else"
    assert any("(LSTM)" in line for line in said)
    if torch.cuda.is_available():
        assert [figure.name for figure in gpu] == ["training-speed-gpu"]
    else:
        assert not gpu
        assert said[-1].strip() == "no GPU here: not measured"
