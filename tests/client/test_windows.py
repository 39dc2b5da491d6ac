"""Training windows: every counted frame once, nothing that does not count."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien_client.rated_recording import Recording
from mien_client.windows import Batch, Windows

CPU = torch.device("cpu")


def numbered(frames: int, first: int = 0) -> Recording:
    """A recording whose inputs and targets are its frames' numbers."""
    number = np.arange(first, first + frames, dtype=np.float32)
    return Recording(
        np.repeat(number[:, None], 40, 1), np.repeat(number[:, None], 2, 1), np.ones(frames, bool)
    )


@given(st.integers(2, 400), st.integers(2, 300), st.data())
def test_windows_hold_every_frame_once(frames: int, length: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, length - 1))
    other = numbered(5, first=1000)
    windows = Windows([other, numbered(frames), other], length, CPU)
    cut = windows.batch(windows.starts(1, offset))
    assert cut.counts.shape[1] == length
    assert np.array_equal(cut.targets[cut.counts][:, 0], np.arange(frames))
    assert np.array_equal(cut.inputs[cut.counts][:, 39], np.arange(frames))
    assert not cut.inputs[~cut.counts].any(), "padding is zero, and no other recording's frames"


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 7))
def test_an_epoch_holds_every_counted_frame_once_in_random_order(seed: int, length: int, size: int) -> None:
    counts = np.random.default_rng(seed).random(200) < 0.3
    counts[100] = True
    first = numbered(200)
    recordings = [Recording(first.inputs, first.targets, counts), numbered(90, first=500)]
    windows = Windows(recordings, length, CPU)
    batches = list(windows.epoch(np.random.default_rng(seed), size))
    kept = np.sort(np.concatenate([batch.targets[batch.counts][:, 0].numpy() for batch in batches]))
    assert np.array_equal(kept, [*np.flatnonzero(counts), *range(500, 590)])
    assert all(len(batch.inputs) == size for batch in batches[:-1])
    assert all(bool(batch.counts.any(1).all()) for batch in batches), "no window in which nothing counts"


@pytest.mark.parametrize(("frames", "sizes"), [(200, [4, 4, 2]), (180, [4, 5]), (20, [1])])
def test_a_last_batch_that_is_too_small_joins_the_one_before(frames: int, sizes: list[int]) -> None:
    windows = Windows([numbered(frames)], 20, CPU)

    class Whole:
        """A generator whose windows start with the recording."""

        def integers(self, _high: int) -> int:
            return 0

        def permutation(self, count: int) -> NDArray[np.int64]:
            return np.arange(count)

    batches = windows.epoch(Whole(), 4, fewest=2)  # type: ignore[arg-type]
    assert [len(batch.inputs) for batch in batches] == sizes


def test_epochs_differ_and_a_seed_repeats_them() -> None:
    windows = Windows([numbered(300)], 20, CPU)

    def inputs(generator: np.random.Generator) -> NDArray[np.float32]:
        return np.concatenate([batch.inputs[..., 0].numpy() for batch in windows.epoch(generator, 4)])

    generator = np.random.default_rng(3)
    first, second = inputs(generator), inputs(generator)
    assert first.shape != second.shape or not np.array_equal(first, second)
    assert np.array_equal(first, inputs(np.random.default_rng(3)))


@pytest.mark.parametrize("rubbish", [99.0, float("nan"), float("inf")])
def test_ratings_that_do_not_count_are_gone(rubbish: float) -> None:
    plain = numbered(50)
    counts = np.arange(50) % 3 > 0
    spoilt = np.where(counts[:, None], plain.targets, np.float32(rubbish))
    windows = Windows([Recording(plain.inputs, spoilt, counts)], 10, CPU)
    batch = windows.batch(windows.starts(0, 4))
    assert not batch.targets[~batch.counts].any()


def test_a_windows_pair_is_the_mean_over_its_counted_frames() -> None:
    generator = np.random.default_rng(4)
    targets, counts = generator.normal(size=(5, 12, 2)).astype(np.float32), generator.random((5, 12)) < 0.6
    counts[:, 0] = True
    shown = np.where(counts[..., None], targets, 0)
    batch = Batch(torch.zeros(5, 12, 40), torch.from_numpy(shown), torch.from_numpy(counts)).means()
    expected = [targets[window][counts[window]].mean(axis=0) for window in range(5)]
    assert batch.targets.shape == (1, 5, 2)
    assert batch.targets[0].numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert batch.counts.shape == (1, 5)
    assert bool(batch.counts.all())
