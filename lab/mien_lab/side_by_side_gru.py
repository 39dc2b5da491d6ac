"""A GRU layer of many sites at once, each with weights of its own, its gradients worked out by hand.

The equations are those of :mod:`mien_client.recurrence.gru`. Every array of the loop over frames is
``(frames, rows, sites, windows)``: a frame's gate of all sites is one contiguous stretch, so that one call
does for all sites what costs a site alone as many calls. Products of many frames are PyTorch's, which keeps
to the threads it is given; NumPy's small ones need no second.
"""

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

Numbers: TypeAlias = NDArray[np.floating]


class SideBySideGru(torch.autograd.Function):
    """One layer: (sites, windows, frames, channels) to (sites, windows, frames, units)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
    ) -> Tensor:
        """Weights (sites, 3 · units, columns) and biases (sites, 3 · units): gates r, z, n."""
        given, to_input, to_state, bias, own_bias = (
            tensor.detach().numpy() for tensor in (inputs, weight_ih, weight_hh, bias_ih, bias_hh)
        )
        sites, windows, frames, channels = given.shape
        units = to_state.shape[2]
        both = 2 * units
        # A sigmoid is ½ + ½ tanh(½ ·), with the inner half in the weights, where it is exact.
        half = np.where(np.arange(3 * units) < both, 0.5, 1.0).astype(given.dtype)
        bias = (bias + np.where(half < 1, own_bias, 0)) * half
        by_site = torch.baddbmm(
            torch.from_numpy(bias)[:, None],
            inputs.detach().reshape(sites, windows * frames, channels),
            torch.from_numpy(to_input * half[:, None]).mT,
        )
        sums = _by_frame(by_site.view(sites, windows, frames, 3 * units).numpy())
        to_state = np.ascontiguousarray(to_state * half[:, None])
        bias_n = np.repeat(own_bias[:, both:].T[:, :, None], windows, axis=2)
        shape = (units, sites, windows)
        states = np.zeros((frames + 1, *shape), given.dtype)
        from_state, candidate = (np.empty((frames, *shape), given.dtype) for _ in range(2))
        gates = np.empty((frames, both, sites, windows), given.dtype)
        product, scratch = np.empty_like(sums[0]), np.empty(shape, given.dtype)
        product_rz, product_n, multiplied = product[:both], product[both:], product.transpose(1, 0, 2)
        before = states[0]
        for sum_, rz, a, n, h in zip(sums, gates, from_state, candidate, states[1:], strict=True):
            np.matmul(to_state, before.transpose(1, 0, 2), multiplied)
            np.add(product_rz, sum_[:both], rz)
            np.tanh(rz, rz)
            np.multiply(rz, 0.5, rz)
            np.add(rz, 0.5, rz)
            np.add(product_n, bias_n, a)
            np.multiply(a, rz[:units], scratch)
            np.add(scratch, sum_[both:], scratch)
            np.tanh(scratch, n)
            np.subtract(before, n, scratch)
            np.multiply(scratch, rz[units:], scratch)
            np.add(scratch, n, h)
            before = h
        ctx.save_for_backward(inputs, weight_ih, weight_hh)
        ctx.trace = gates, from_state, candidate, states
        return torch.from_numpy(_by_site(states[1:]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
        """The gradient of each sum is dh′ times a factor that is known before the loop."""
        given, to_input, to_state = (tensor.detach().numpy() for tensor in ctx.saved_tensors)
        gates, from_state, candidate, states = ctx.trace
        sites, windows, frames, channels = given.shape
        units = to_state.shape[2]
        outer = _by_frame(gradient.numpy())
        parts = _factors(gates[:, :units], gates[:, units:], from_state, candidate, states[:-1])
        transposed = np.ascontiguousarray(to_state.mT)
        flowing, through = np.zeros_like(outer[0]), np.zeros_like(outer[0])
        multiplied = through.transpose(1, 0, 2)
        for frame in reversed(range(frames)):
            part = parts[frame]
            np.add(flowing, outer[frame], flowing)
            np.multiply(part, flowing, part)
            rows = part[1:].reshape(3 * units, sites, windows)
            np.matmul(transposed, rows.transpose(1, 0, 2), multiplied)
            np.multiply(flowing, gates[frame, units:], flowing)
            np.add(flowing, through, flowing)
        # Rows n, r, z, a: the first three are sums with W x, the last three with U h.
        columns = windows * frames
        rows_by_site = parts.reshape(frames, 4 * units, sites, windows).transpose(2, 1, 3, 0)
        by_row = torch.from_numpy(np.ascontiguousarray(rows_by_site)).view(sites, 4 * units, columns)
        to_inputs, to_states = by_row[:, : 3 * units], by_row[:, units:]
        of_input = torch.bmm(to_inputs, torch.from_numpy(given).reshape(sites, columns, channels))
        before = torch.from_numpy(_by_site(states[:-1])).view(sites, columns, units)
        of_state, bias = torch.bmm(to_states, before), by_row.sum(2)
        of_given = None
        if ctx.needs_input_grad[0]:
            of_given = torch.bmm(to_inputs.mT, torch.from_numpy(to_input).roll(units, 1)).view(given.shape)
        of_bias, of_own_bias = bias[:, : 3 * units].roll(-units, 1), bias[:, units:]
        return of_given, of_input.roll(-units, 1), of_state, of_bias, of_own_bias


def _factors(r: Numbers, z: Numbers, a: Numbers, n: Numbers, h: Numbers) -> Numbers:
    """∂h′ by the sums W_n x, r's, z's and U_n h: from (frames, units, …) each to (frames, 4, units, …)."""
    frames, *rest = a.shape
    out = np.empty((frames, 4, *rest), a.dtype)
    new = 1.0 - z
    out[:, 0] = (1.0 - n * n) * new
    out[:, 1] = (1.0 - r) * r * out[:, 0] * a
    out[:, 2] = (h - n) * z * new
    out[:, 3] = out[:, 0] * r
    return out


def _by_frame(by_site: Numbers) -> Numbers:
    """(sites, windows, frames, rows) to (frames, rows, sites, windows)."""
    return np.ascontiguousarray(by_site.transpose(2, 3, 0, 1))


def _by_site(by_frame: Numbers) -> Numbers:
    """(frames, rows, sites, windows) to (sites, windows, frames, rows)."""
    return np.ascontiguousarray(by_frame.transpose(2, 3, 0, 1))
