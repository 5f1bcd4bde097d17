"""minLSTM on the native kernels: the interface of `_reference_minlstm` in float32.

Chunks of some steps are taken one after the other, so that what the product with the kernel wrote
is still in the cache when the scan reads it. A chunk is one chain in the sums of the weights'
gradients: chunks alone decide their bits.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from ._kernels import _minlstm
from ._kernels._gemm import matmul
from ._kernels._pointwise import add_column_sums
from ._steps import Steps, chunks, last_places, plan, rows, unrows

Array = np.ndarray

CHUNK = 1024  # packed rows of a chunk, or more


class Saved(NamedTuple):
    """What backward needs of one forward run; it changes none of it."""

    x: Array
    y: Array
    kernel: Array
    bias: Array | None
    h0: Array  # in packed order
    steps: Steps
    z: Array  # (N, 3H): x W of the packed rows


def _packed(x: Array, steps: Steps, first: int, end: int) -> Array:
    """Packed rows first .. end - 1 of x (positions, I)."""
    return x[first:end] if steps.in_place else x[steps.index[first:end]]


def minlstm_forward(
    x: Array, kernel: Array, bias: Array | None, h: Array, *, mask: Array | None = None,
    resets: Array | None = None, reverse: bool = False, time_major: bool = False,
    keep: bool = True,
) -> tuple[Array, Array, Saved | None]:  # fmt: skip
    """As `_reference_minlstm.minlstm_forward`, of float32 arrays."""
    batch, time = (x.shape[1], x.shape[0]) if time_major else x.shape[:2]
    units = h.shape[1]
    steps = plan(batch, time, mask, reverse, time_major, resets=resets)
    y = (np.empty if steps.full else np.zeros)((*x.shape[:2], units), x.dtype)
    h_out, h0 = np.empty_like(h), rows(h, steps, steps.first)
    x_rows, y_rows = x.reshape(-1, x.shape[2]), y.reshape(-1, units)
    counts, offsets = steps.counts[0], steps.offsets
    if keep:
        z = np.empty((len(steps.index), 3 * units), x.dtype)
    for begin, end in itertools.pairwise(chunks(steps, CHUNK)):
        first, beyond = offsets[begin], offsets[end]
        part = z[first:beyond] if keep else np.empty((beyond - first, 3 * units), x.dtype)
        matmul(_packed(x_rows, steps, first, beyond), kernel, part)
        _minlstm.forward(part, bias, h0, y_rows, counts, offsets, steps.index, begin, end)
    final = h0.copy()
    if len(counts):  # each row's y of its last step, if it has one
        final[: counts[0]] = y_rows[last_places(steps)]
    saved = Saved(x, y, kernel, bias, h0, steps, z) if keep else None
    return y, unrows(final, steps, h_out, steps.last), saved


def minlstm_backward(
    saved: Saved, dy: Array | None, dh: Array, need_dx: bool = True
) -> tuple[Array | None, Array, Array | None, Array]:
    """As `_reference_minlstm.minlstm_backward`, of float32 arrays."""
    x, y, kernel, bias, h0, steps, z = saved
    features, units = x.shape[2], dh.shape[1]
    d_kernel = np.zeros_like(kernel)
    d_bias = None if bias is None else np.zeros_like(bias)
    dh0 = np.empty_like(dh)
    dh = rows(dh, steps, steps.last)
    dx = (np.empty if steps.full else np.zeros)(x.shape, x.dtype) if need_dx else None
    x_rows, y_rows = x.reshape(-1, features), y.reshape(-1, units)
    dy_rows = None if dy is None else dy.reshape(-1, units)
    offsets = steps.offsets
    for begin, end in reversed([*itertools.pairwise(chunks(steps, CHUNK))]):
        first, beyond = offsets[begin], offsets[end]
        dz = np.empty((beyond - first, 3 * units), x.dtype)
        _minlstm.backward(z[first:beyond], bias, h0, y_rows, dy_rows, dh, dz, steps.counts[0],
                          offsets, steps.index, begin, end)  # fmt: skip
        matmul(_packed(x_rows, steps, first, beyond), dz, d_kernel, True, False, True)
        if d_bias is not None:
            add_column_sums(dz, d_bias)
        if dx is not None:
            dx_rows = dx.reshape(-1, features)
            if steps.in_place:
                matmul(dz, kernel, dx_rows[first:beyond], False, True)
            else:
                part = np.empty((beyond - first, features), x.dtype)
                matmul(dz, kernel, part, False, True)
                dx_rows[steps.index[first:beyond]] = part
    return dx, d_kernel, d_bias, unrows(dh, steps, dh0, steps.first)
