"""Windows of 600 frames, as the paper's protocol cuts them."""

import numpy as np
import pytest
import torch

from mien_common.architecture import Architecture
from mien_common.network import build
from mien_lab.experiments.windows import WINDOW_FRAMES, predict_windows, window_counts, window_means


def test_five_minutes_are_twelve_windows_and_what_is_left_is_dropped() -> None:
    assert WINDOW_FRAMES == 600
    for frames, windows in ((7500, 12), (7501, 12), (599, 0), (600, 1), (0, 0)):
        trace, counts = np.ones((frames, 2), np.float32), np.ones(frames, bool)
        assert window_means(trace, counts).shape == (windows, 2)
        assert window_counts(counts).shape == (windows,)


def test_a_windows_mean_is_over_its_counted_frames() -> None:
    generator = np.random.default_rng(1)
    trace = generator.normal(size=(1500, 2)).astype(np.float32)
    counts = generator.random(1500) > 0.3
    counts[600:1200] = False
    means = window_means(np.where(counts[:, None], trace, np.float32(np.nan)), counts)
    assert means[0] == pytest.approx(trace[:600][counts[:600]].mean(axis=0), abs=1e-6)
    assert means[1].tolist() == [0, 0]
    assert window_counts(counts).tolist() == [True, False]


def test_a_network_sees_one_window_at_a_time() -> None:
    architecture = Architecture(channels=3, hidden_units=4, layers=1, bidirectional=True, predicts="window")
    network = build(architecture, seed=1)
    inputs = np.random.default_rng(2).normal(size=(1300, 3)).astype(np.float32)
    both = predict_windows(network, inputs, torch.device("cpu"))
    second = predict_windows(network, inputs[600:1200], torch.device("cpu"))
    assert both.shape == (2, 2)
    assert both[1] == pytest.approx(second[0], abs=1e-6)
    assert predict_windows(network, inputs[:599], torch.device("cpu")).shape == (0, 2)
