"""Training windows: all recordings in one stretch of memory, cut anew in every epoch.

Enters: this site's recordings. Leaves (to :mod:`mien_client.training`): batches of windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rated_recording import Recording


@dataclass(frozen=True)
class Batch:
    """Windows of one length."""

    inputs: Tensor
    """(windows, frames, channels)"""
    targets: Tensor
    """(windows, frames, 2); 0 where a frame does not count."""
    counts: Tensor
    """(windows, frames) bool"""

    def means(self) -> "Batch":
        """Each window's mean over its counted frames, as one trace: targets (1, windows, 2)."""
        frames = self.counts.sum(1, keepdim=True)
        counts = torch.ones_like(self.counts[:, 0])
        return Batch(self.inputs, (self.targets.sum(1) / frames)[None], counts[None])


class Windows:
    """Recordings one after another with a window's length of nothing around each."""

    def __init__(self, recordings: Sequence[Recording], length: int, device: torch.device) -> None:
        """``length`` of a window, frames."""
        self._length = length
        self._frames = [len(recording.counts) for recording in recordings]
        self._first = np.cumsum([length, *(frames + length for frames in self._frames)])
        """Where each recording begins, and where the next one would."""
        inputs = np.zeros((self._first[-1], recordings[0].inputs.shape[1]), np.float32)
        targets = np.zeros((len(inputs), 2), np.float32)
        counts = np.zeros(len(inputs), bool)
        for recording, first, frames in zip(recordings, self._first, self._frames, strict=False):
            here = slice(first, first + frames)
            inputs[here], counts[here] = recording.inputs, recording.counts
            targets[here] = np.where(recording.counts[:, None], recording.targets, np.float32(0.0))
        self._counted = np.concatenate([[0], np.cumsum(counts)])
        self._inputs, self._targets, self._counts = (
            torch.from_numpy(array).to(device) for array in (inputs, targets, counts)
        )
        self._within = torch.arange(length, device=device)

    def epoch(self, generator: np.random.Generator, batch_windows: int, fewest: int = 1) -> Iterator[Batch]:
        """Every counted frame once: windows from a random start in each recording, in random order.

        A last batch of less than ``fewest`` windows joins the one before it.
        """
        starts = np.concatenate(
            [
                self.starts(number, int(generator.integers(self._length)))
                for number in range(len(self._frames))
            ]
        )
        starts = starts[generator.permutation(len(starts))]
        cuts = list(range(batch_windows, len(starts), batch_windows))
        if cuts and len(starts) - cuts[-1] < fewest:
            cuts.pop()
        for chosen in np.split(starts, cuts):
            yield self.batch(chosen)

    def starts(self, number: int, offset: int) -> NDArray[np.int64]:
        """Where a recording's windows start, those left out in which nothing counts."""
        first = int(self._first[number])
        starts = np.arange(first - self._length + offset, first + self._frames[number], self._length)
        return starts[self._counted[starts + self._length] > self._counted[starts]]

    def batch(self, starts: NDArray[np.int64]) -> Batch:
        """The windows that start there."""
        where = torch.from_numpy(starts).to(self._within.device)[:, None] + self._within
        return Batch(self._inputs[where], self._targets[where], self._counts[where])
