"""The `blas` backend: the interface of `_reference`, over the Cython loops of `_lstm_blas`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._cell import NO_NOISE, PLAIN, Cell, Noise
from ._kernels import _lstm_blas
from ._kernels._blas import groups, matmul  # noqa: F401 - matmul is part of the interface
from ._steps import Steps, plan, rows, shared_rows, unrows

Array = np.ndarray


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    kernel: Array
    recurrent_kernel: Array
    recurrent_mask: Array | None
    c0: Array
    steps: Steps
    shape: tuple[int, ...]  # of x
    kept: tuple[Array, ...]  # xs, hs, cs, gates


def supports(cell: Cell, noise: Noise) -> bool:
    """The plain cell, with no noise but a mask of h."""
    return cell is PLAIN and not any(a is not None for a in noise[1:])


def lstm_forward(
    x: Array, kernel: Array, recurrent_kernel: Array, bias: Array | None, h: Array, c: Array, *,
    mask: Array | None = None, resets: Array | None = None, reverse: bool = False,
    noise: Noise = NO_NOISE, cell: Cell = PLAIN, time_major: bool = False,
    keep: bool = True,
) -> tuple[Array, Array, Array, Saved | None]:  # fmt: skip
    """As `_reference.lstm_forward`, of the plain cell."""
    batch, time = (x.shape[1], x.shape[0]) if time_major else x.shape[:2]
    units = len(recurrent_kernel)
    work = batch * time * 4 * units * (x.shape[2] + units)
    steps = plan(batch, time, mask, reverse, time_major, max(1, min(batch, groups(work))), resets)
    y = (np.empty if steps.full else np.zeros)((*x.shape[:2], units), x.dtype)
    h_out, c_out = np.empty_like(h), np.empty_like(c)
    h, c0 = rows(h, steps, steps.first), rows(c, steps, steps.first)
    c = c0.copy()
    recurrent_mask = noise.recurrent_mask
    if recurrent_mask is not None:
        recurrent_mask = shared_rows(recurrent_mask, steps)
    kept = _FORWARD[x.dtype](
        x.reshape(-1, x.shape[2]), kernel, recurrent_kernel, bias, h, c, recurrent_mask,
        y.reshape(-1, units), steps.rows, steps.starts, steps.counts, steps.index, steps.in_place,
        keep)  # fmt: skip
    saved = None
    if keep:
        saved = Saved(kernel, recurrent_kernel, recurrent_mask, c0, steps, x.shape, kept)
    return y, unrows(h, steps, h_out, steps.last), unrows(c, steps, c_out, steps.last), saved


def lstm_gates(saved: Saved) -> tuple[Array, Array]:
    """As `_reference.lstm_gates`."""

    def at_positions(packed: Array) -> Array:
        array = np.zeros((*saved.shape[:2], packed.shape[1]), packed.dtype)
        array.reshape(-1, packed.shape[1])[saved.steps.index] = packed
        return array

    _, _, cells, gates = saved.kept
    return at_positions(cells), at_positions(gates)


def lstm_backward(
    saved: Saved, dy: Array | None, dh: Array, dc: Array, d_kernel: Array, d_recurrent: Array,
    d_bias: Array | None, need_dx: bool = True, d_cell: dict[str, Array] | None = None,
) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """dx (None unless needed), dh0, dc0; the weights' gradients are added to the arrays given."""
    steps, units = saved.steps, len(saved.recurrent_kernel)
    dh0, dc0 = np.empty_like(dh), np.empty_like(dc)  # no memory: no change
    dh, dc = rows(dh, steps, steps.last), rows(dc, steps, steps.last)
    dx = None
    if need_dx:
        dx = (np.empty if steps.full else np.zeros)(saved.shape, dh.dtype)
    _BACKWARD[dh.dtype](
        *saved.kept, saved.c0, saved.kernel, saved.recurrent_kernel, saved.recurrent_mask,
        None if dy is None else dy.reshape(-1, units), dh, dc, steps.rows, steps.starts,
        steps.counts, steps.index, steps.in_place, d_kernel, d_recurrent, d_bias,
        None if dx is None else dx.reshape(-1, saved.shape[2]))  # fmt: skip
    return dx, unrows(dh, steps, dh0, steps.first), unrows(dc, steps, dc0, steps.first)


# the two specialisations, picked by a dictionary: Cython's own dispatch costs microseconds
_FORWARD = {
    np.dtype(np.float32): _lstm_blas.forward["float"],
    np.dtype(np.float64): _lstm_blas.forward["double"],
}
_BACKWARD = {
    np.dtype(np.float32): _lstm_blas.backward["float"],
    np.dtype(np.float64): _lstm_blas.backward["double"],
}
