"""A simple recurrent layer (Elman, 1990): h′ = tanh(W x + U h + b), with its gradients worked out by hand."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .layer import (
    Gradients,
    GradientSums,
    beside,
    blocks,
    numbers_of,
    product_with,
    span,
    states_around,
    sums_of_gates,
)


class RnnLayer(torch.autograd.Function):
    """One direction of one layer: (frames, channels, batch) to (frames, units, batch)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        reverse: bool,
    ) -> Tensor:
        """Weights and biases as :class:`torch.nn.RNN` has them."""
        given = numbers_of(inputs)
        units = weight_hh.shape[1]
        frames, _, batch = given.shape
        states = np.empty((frames + 1, units, batch), given.dtype)
        before, after = states_around(states, reverse=reverse)
        multiply, product = product_with(numbers_of(weight_hh), batch)
        h = np.zeros_like(product)
        order = blocks(frames, batch, reverse=reverse)
        bias = numbers_of(bias_ih + bias_hh)
        with beside() as start:
            for block, sums in sums_of_gates(numbers_of(weight_ih), bias, given, order, start):
                for frame, sum_ in zip(block, sums, strict=True):
                    multiply(h)
                    h = np.add(product, sum_, after[frame])
                    np.tanh(h, h)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, *map(torch.from_numpy, (before, after)))
        ctx.reverse = reverse
        return torch.from_numpy(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        """The gradient of each sum is dh′ · (1 − h′²)."""
        inputs, weight_ih, weight_hh, before, after = (tensor.detach() for tensor in ctx.saved_tensors)
        units = weight_hh.shape[1]
        frames, _, batch = inputs.shape
        outer, states = numbers_of(gradient.contiguous()), numbers_of(after)
        multiply, flowing = product_with(numbers_of(weight_hh).T, batch)
        order = blocks(frames, batch, reverse=not ctx.reverse)
        rows = slice(0, units)
        with beside() as start:
            total = GradientSums(
                inputs, before, weight_ih, rows, rows, order, start, needs_inputs=ctx.needs_input_grad[0]
            )
            for block, parts in total.blocks():
                where = span(block)
                factors = parts.numpy()
                np.multiply(states[where], states[where], factors)
                np.subtract(1.0, factors, factors)
                for frame in block:
                    part = factors[frame - where.start]
                    np.add(flowing, outer[frame], flowing)
                    np.multiply(part, flowing, part)
                    multiply(part)
            return *total.results(), None
