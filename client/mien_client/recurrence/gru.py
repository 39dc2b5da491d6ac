"""A GRU layer (Cho et al., 2014, as PyTorch writes it) with its gradients worked out by hand.

    r = σ(W_r x + U_r h + b_r)    z = σ(W_z x + U_z h + b_z)    a = U_n h + c_n
    n = tanh(W_n x + b_n + r ∘ a)
    h′ = n + z ∘ (h − n)

A sigmoid is computed as ½ + ½ tanh(½ ·), with the inner half in the weights, where it is exact.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .layer import (
    Gradients,
    GradientSums,
    Numbers,
    beside,
    blocks,
    numbers_of,
    product_with,
    span,
    states_around,
    sums_of_gates,
)


class GruLayer(torch.autograd.Function):
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
        """Weights and biases as :class:`torch.nn.GRU` has them: gates r, z, n."""
        given, to_input, to_state, bias, own_bias = map(
            numbers_of, (inputs, weight_ih, weight_hh, bias_ih, bias_hh)
        )
        units = to_state.shape[1]
        both = 2 * units
        frames, _, batch = given.shape
        half = np.where(np.arange(3 * units) < both, 0.5, 1.0).astype(given.dtype)
        bias = bias + np.where(half < 1, own_bias, 0)
        states = np.empty((frames + 1, units, batch), given.dtype)
        before, after = states_around(states, reverse=reverse)
        gates = np.empty((frames, both, batch), given.dtype)
        from_state, candidate = (np.empty((frames, units, batch), given.dtype) for _ in range(2))
        multiply, product = product_with(to_state * half[:, None], batch)
        product_rz, product_n = product[:both], product[both:]
        bias_n = np.repeat(own_bias[both:, None], batch, axis=1)
        scratch, h = np.empty_like(bias_n), np.zeros_like(bias_n)
        order = blocks(frames, batch, reverse=reverse)
        with beside() as start:
            for block, sums in sums_of_gates(to_input * half[:, None], bias * half, given, order, start):
                for frame, sums_rz, sums_n in zip(block, sums[:, :both], sums[:, both:], strict=True):
                    rz, a, n = gates[frame], from_state[frame], candidate[frame]
                    multiply(h)
                    np.add(product_rz, sums_rz, rz)
                    np.tanh(rz, rz)
                    np.multiply(rz, 0.5, rz)
                    np.add(rz, 0.5, rz)
                    np.add(product_n, bias_n, a)
                    np.multiply(a, rz[:units], scratch)
                    np.add(scratch, sums_n, scratch)
                    np.tanh(scratch, n)
                    np.subtract(h, n, scratch)
                    np.multiply(scratch, rz[units:], scratch)
                    h = after[frame]
                    np.add(scratch, n, h)
        ctx.save_for_backward(
            inputs, weight_ih, weight_hh, *map(torch.from_numpy, (gates, from_state, candidate, before))
        )
        ctx.reverse = reverse
        return torch.from_numpy(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        """The gradient of each sum is dh′ times a factor that is known before the loop."""
        inputs, weight_ih, weight_hh, *saved = (tensor.detach() for tensor in ctx.saved_tensors)
        gates, from_state, candidate, before = map(numbers_of, saved)
        units = weight_hh.shape[1]
        frames, _, batch = inputs.shape
        outer = numbers_of(gradient.contiguous())
        multiply, through = product_with(numbers_of(weight_hh).T, batch)
        flowing = np.zeros((units, batch), outer.dtype)
        order = blocks(frames, batch, reverse=not ctx.reverse)
        # Rows n, r, z, a: the first three of them are sums with W x, the last three with U h.
        rows = (slice(0, 3 * units), slice(units, 4 * units))
        with beside() as start:
            total = GradientSums(
                inputs,
                saved[-1],
                weight_ih.roll(units, 0),
                *rows,
                order,
                start,
                needs_inputs=ctx.needs_input_grad[0],
            )
            for block, parts in total.blocks():
                where = span(block)
                to_state = parts[:, units:].numpy()
                factors = parts.numpy().reshape(len(block), 4, units, batch)
                _put_factors(
                    gates[where, :units],
                    gates[where, units:],
                    from_state[where],
                    candidate[where],
                    before[where],
                    factors,
                )
                for frame in block:
                    number = frame - where.start
                    part = factors[number]
                    np.add(flowing, outer[frame], flowing)
                    np.multiply(part, flowing, part)
                    multiply(to_state[number])
                    np.multiply(flowing, gates[frame, units:], flowing)
                    np.add(flowing, through, flowing)
            to_inputs, of_input, of_state, bias, own_bias = total.results()
        return to_inputs, of_input.roll(-units, 0), of_state, bias.roll(-units), own_bias, None


def _put_factors(r: Numbers, z: Numbers, a: Numbers, n: Numbers, h: Numbers, out: Numbers) -> None:
    """∂h′ by the sums W_n x, r's, z's and U_n h: from (frames, units, batch) each to (frames, 4, …)."""
    of_n, of_r, of_z, of_a = (out[:, row] for row in range(4))
    new = 1.0 - z
    np.multiply(n, n, of_n)
    np.subtract(1.0, of_n, of_n)
    np.multiply(of_n, new, of_n)
    np.multiply(of_n, r, of_a)
    np.subtract(1.0, r, of_r)
    np.multiply(of_r, of_a, of_r)
    np.multiply(of_r, a, of_r)
    np.subtract(h, n, of_z)
    np.multiply(of_z, z, of_z)
    np.multiply(of_z, new, of_z)
