"""What the three kinds of recurrent layers share: memory by frames, blocks of frames, sums of gradients.

Every array holds one matrix per frame, ``(frames, rows, batch)``: a gate of all units and windows is one
contiguous stretch, and a frame's product is one matrix product with the weights on the left. What needs no
earlier frame is done for a block of frames at a time, which stays in the processor's cache, and where
PyTorch may use a second thread, beside the loop over frames.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers: TypeAlias = NDArray[np.floating]

Gradients: TypeAlias = tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor, None]
"""Of a layer's inputs (None where nobody asks), weight_ih, weight_hh, bias_ih, bias_hh, and its direction."""

Start: TypeAlias = Callable[[Callable[[], None]], "Future[None]"]
"""Starts a piece of work beside this one."""

_BLOCK_COLUMNS: Final = 768
"""Frames × windows of a block: of 64 units, the gates take most of a megabyte."""
_ONE_THREAD_PRODUCT: Final = 2**19
"""From this many multiplications on, NumPy's OpenBLAS shares a product among threads, which costs more
than it saves at such sizes, and the site's owner may have given Mien one thread only."""


@contextmanager
def beside() -> Iterator[Start]:
    """A second thread where PyTorch is allowed one; else work is done where it is started.

    PyTorch's own threads rest meanwhile: a frame's product is too small to be worth handing out.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield _now
        return
    torch.set_num_threads(1)  # also of the thread that begins here
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="recurrence") as second:
            yield second.submit
    finally:
        torch.set_num_threads(threads)


def _now(work: Callable[[], None]) -> "Future[None]":
    work()
    done: Future[None] = Future()
    done.set_result(None)
    return done


def blocks(frames: int, batch: int, *, reverse: bool) -> list[range]:
    """Blocks of frame numbers in the order in which they are read; so are the numbers in each."""
    order = range(frames)[::-1] if reverse else range(frames)
    size = max(_BLOCK_COLUMNS // batch, 1)
    return [order[start : start + size] for start in range(0, frames, size)]


def span(block: range) -> slice:
    """The block's frames in the recording's own order."""
    return slice(min(block[0], block[-1]), max(block[0], block[-1]) + 1)


def states_around(states: Numbers, *, reverse: bool) -> tuple[Numbers, Numbers]:
    """Of (frames + 1, units, batch): the states before each frame, and after it, in the recording's order.

    Forward begins with the first matrix, backward with the last; that one is made zero.
    """
    states[-1 if reverse else 0] = 0.0
    return (states[1:], states[:-1]) if reverse else (states[:-1], states[1:])


def stacked(weight: Numbers, batch: int) -> Numbers:
    """(rows, columns) as (pieces, rows / pieces, columns), each small enough for one thread's product."""
    rows, columns = weight.shape
    pieces = [count for count in range(1, rows + 1) if rows % count == 0]
    fits = (count for count in pieces if rows // count * columns * batch < _ONE_THREAD_PRODUCT)
    count = next(fits, rows)
    return np.ascontiguousarray(weight).reshape(count, rows // count, columns)


def product_with(weight: Numbers, batch: int) -> tuple[Callable[[Numbers], Numbers], Numbers]:
    """What multiplies (columns, batch) by the weight from the left, and the (rows, batch) it puts that in."""
    pieces = stacked(weight, batch)
    out = np.zeros((len(weight), batch), weight.dtype)
    if len(pieces) == 1:  # np.dot has the smaller overhead
        return partial(np.dot, pieces[0], out=out), out
    return partial(np.matmul, pieces, out=out.reshape(*pieces.shape[:2], batch)), out


def sums_of_gates(
    weight: Numbers, bias: Numbers, inputs: Numbers, order: list[range], start: Start
) -> Iterator[tuple[range, Numbers]]:
    """weight · frame + bias: (frames of the block, rows of the weight, batch) for one block after another.

    A block's frames come in the order in which they are read; they hold until the next block is asked for.
    """
    batch = inputs.shape[-1]
    pieces = stacked(weight, batch)
    out = np.empty((2, len(order[0]), *pieces.shape[:2], batch), inputs.dtype)

    def fill(number: int) -> None:
        block = order[number]
        sums = out[number % 2, : len(block)]
        np.matmul(pieces, inputs[span(block), None], sums)
        np.add(sums, bias.reshape(*pieces.shape[:2], 1), sums)

    waiting = start(partial(fill, 0))
    for number, block in enumerate(order):
        waiting.result()
        if number + 1 < len(order):
            waiting = start(partial(fill, number + 1))
        sums = out[number % 2, : len(block)].reshape(len(block), len(weight), batch)
        yield block, sums[:: block.step]


class GradientSums:
    """Gradients of weights, biases and inputs from those of the sums that enter the frames' gates.

    The rows of those that belong to weight_ih are ``to_input``, to weight_hh ``to_state``.
    """

    def __init__(
        self,
        inputs: Tensor,
        before: Tensor,
        weight_ih: Tensor,
        to_input: slice,
        to_state: slice,
        order: list[range],
        start: Start,
        *,
        needs_inputs: bool,
    ) -> None:
        _, channels, batch = inputs.shape
        self._given, self._before = inputs, before
        self._to_input, self._to_state = to_input, to_state
        self._order, self._start = order, start
        height = max(to_input.stop, to_state.stop)
        self._parts = inputs.new_empty(2, len(order[0]), height, batch)
        self._running: list[Future[None]] = []
        self._transposed = stacked(weight_ih.numpy().T, batch)
        self._to_inputs = torch.empty_like(inputs) if needs_inputs else None
        self._weight_ih = inputs.new_zeros(to_input.stop - to_input.start, channels)
        self._weight_hh = inputs.new_zeros(to_state.stop - to_state.start, before.shape[1])
        self._bias = inputs.new_zeros(height)

    def blocks(self) -> Iterator[tuple[range, Tensor]]:
        """One block after another with room for its gradients: (frames of the block, rows, batch).

        They are filled in, in the recording's order, before the next block is asked for.
        """
        for number, block in enumerate(self._order):
            if number > 1:
                self._running[number - 2].result()
            parts = self._parts[number % 2, : len(block)]
            yield block, parts
            self._running.append(self._start(partial(self._add, block, parts)))
            if self._to_inputs is not None:
                out = self._to_inputs[span(block)].numpy()
                pieces = out.reshape(len(block), *self._transposed.shape[:2], -1)
                np.matmul(self._transposed, parts[:, None, self._to_input].numpy(), pieces)

    def _add(self, block: range, parts: Tensor) -> None:
        given, before = self._given[span(block)], self._before[span(block)]
        to_input, to_state = parts[:, self._to_input], parts[:, self._to_state]
        torch.addbmm(self._weight_ih, to_input, given.mT, out=self._weight_ih)
        torch.addbmm(self._weight_hh, to_state, before.mT, out=self._weight_hh)
        self._bias += parts.sum(0).sum(1)

    def results(self) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
        """Of the inputs (None where nobody asked), weight_ih, weight_hh, bias_ih, bias_hh."""
        for running in self._running:
            running.result()
        bias_ih, bias_hh = self._bias[self._to_input], self._bias[self._to_state]
        return self._to_inputs, self._weight_ih, self._weight_hh, bias_ih, bias_hh


def numbers_of(tensor: Tensor) -> Numbers:
    """The tensor's own memory."""
    numbers: Numbers = tensor.detach().numpy()
    return numbers
