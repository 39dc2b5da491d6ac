"""A corpus small enough to train on in a second, whose answer is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from mien_lab.corpora.corpus import Corpus, Partition, RatedRecording

TinyCorpus = Callable[..., Corpus]

LAG_S = 1.6
"""What the raters of :func:`make_tiny_corpus` lag by, where a test does not say otherwise."""


def make_tiny_corpus(
    participants: int = 4,
    recordings_each: int = 1,
    frames: int = 750,
    channels: int = 6,
    seed: int = 1,
    *,
    lag_s: float = LAG_S,
    noise: float = 0.02,
    rate_hz: float = 25.0,
    partitions: dict[str, Partition] | None = None,
) -> Corpus:
    """People P01, P02, …: smooth random channels, a linear map squashed to valence and arousal, two raters.

    Each person has a resting face and a gain per channel of their own, and raters like some more than others.
    Five frames in a hundred have no face, and rubbish where it would be.
    """
    shared = np.random.default_rng((seed, 0))
    weights = shared.normal(0, 1.2 / np.sqrt(channels), size=(channels, 2))
    lag = round(lag_s * rate_hz)
    recordings = []
    for person in range(participants):
        own = np.random.default_rng((seed, 1, person))
        rest, gain = own.normal(2, 1, channels), np.exp(own.normal(0, 0.3, channels))
        bias = own.normal(0, 0.1, 2)
        for index in range(recordings_each):
            generator = np.random.default_rng((seed, 2, person, index))
            moved = gaussian_filter1d(generator.normal(size=(frames + lag, channels)), rate_hz * 0.3, axis=0)
            moved /= moved.std(axis=0)
            affect = 0.5 * np.tanh(moved @ weights)[:frames]
            slow = gaussian_filter1d(generator.normal(size=(2, frames, 2)), rate_hz * 0.5, axis=1)
            features = rest + gain * moved[lag:] + generator.normal(0, 0.1, size=(frames, channels))
            valid = generator.random(frames) > 0.05
            features[~valid] = 99.0
            recordings.append(
                RatedRecording(
                    name=f"P{person + 1:02d}-{index + 1}",
                    participant=f"P{person + 1:02d}",
                    features=features.astype(np.float32),
                    valid=valid,
                    raters=("A", "B"),
                    ratings=np.clip(affect + bias + noise * slow / slow.std(), -1, 1).astype(np.float32),
                    gold=None,
                    source=Path(f"tiny/P{person + 1:02d}-{index + 1}.csv"),
                )
            )
    names = tuple(f"c{channel}" for channel in range(channels))
    return Corpus("tiny", names, rate_hz, tuple(recordings), partitions or {})


@pytest.fixture(scope="session")
def tiny_corpus() -> TinyCorpus:
    """:func:`make_tiny_corpus`, for tests that import nothing from here."""
    return make_tiny_corpus
