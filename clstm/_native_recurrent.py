"""The RNN and the sLSTM over csrc/'s kernels: `_reference_recurrent`'s interface in float32."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._kernels import _recurrent_backward, _recurrent_forward
from ._native_backend import CHUNK, RAW_ROWS, share
from ._native_cell import kernel_activation
from ._reference_recurrent import Cell, Run
from ._steps import Steps, chunks, last_places, plan, rows, shared_rows, unrows

Array = np.ndarray


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    run: Run
    y: Array
    steps: Steps
    h0: Array  # (B, HP), as the rest in packed order
    state0: Array | None  # (NU, B, 48) of the sLSTM
    recurrent_mask: Array | None  # (B, HP)
    kept: Array | None  # None: no position is valid


def supports(cell: Cell) -> bool:
    """Whether the kernels know the activation."""
    return cell.activation is None or kernel_activation(cell.activation) is not None


def forward(run: Run, state: tuple[Array, ...], keep: bool
            ) -> tuple[Array, tuple[Array, ...], Saved | None]:  # fmt: skip
    """As `_reference_recurrent.forward`."""
    x, (heads, depth) = run.x, run.recurrent_kernel.shape[:2]
    batch, time = (x.shape[1], x.shape[0]) if run.time_major else x.shape[:2]
    steps = plan(batch, time, run.mask, run.reverse, run.time_major, resets=run.resets)
    y = (np.empty if steps.full else np.zeros)((*x.shape[:2], heads * depth), np.float32)
    finals = [np.empty_like(a) for a in state]
    packed = [rows(a, steps, steps.first) for a in state]
    h0, mask = _widened(packed[0], heads), run.recurrent_mask
    if mask is not None:
        mask = _widened(shared_rows(mask, steps), heads)
    h = np.zeros((2, *h0.shape), np.float32)
    h[0] = h0 if mask is None else h0 * mask
    blocks = _blocks(packed[1:], heads) if len(state) > 1 else None
    state0 = blocks.copy() if keep and blocks is not None else None
    kept = None
    if len(steps.index):
        work = len(steps.index) * run.kernel.shape[1] * (len(run.kernel) + depth)
        threads, bounds = share(len(h0), work, heads * depth, steps, norm=False)
        pack = len(steps.index) > RAW_ROWS or depth % 16 != 0
        kept = _recurrent_forward.forward(
            x.reshape(-1, x.shape[2]), run.kernel, run.recurrent_kernel, run.bias, mask,
            _phi(run.cell), run.cell.exponential, h, blocks, y.reshape(-1, heads * depth),
            steps.counts[0], steps.offsets, steps.index, bounds, threads, pack, keep)  # fmt: skip
        last = last_places(steps)
        packed[0][: len(last)] = y.reshape(-1, heads * depth)[last]
        if blocks is not None:
            _unblock(blocks, packed[1:], heads)
    state = tuple(unrows(a, steps, out, steps.last)
                  for a, out in zip(packed, finals, strict=True))  # fmt: skip
    return y, state, Saved(run, y, steps, h0, state0, mask, kept) if keep else None


def backward(saved: Saved, dy: Array | None, d_state: tuple[Array, ...], need_dx: bool
             ) -> tuple[Array | None, list[Array], tuple[Array, ...]]:  # fmt: skip
    """As `_reference_recurrent.backward`."""
    run, y, steps, h0, state0, mask, kept = saved
    x, (heads, depth) = run.x, run.recurrent_kernel.shape[:2]
    units = heads * depth
    dx = (np.empty if steps.full else np.zeros)(x.shape, np.float32) if need_dx else None
    grads = [np.zeros_like(w) for w in (run.kernel, run.recurrent_kernel, run.bias)
             if w is not None]  # fmt: skip
    finals = [np.empty_like(a) for a in d_state]
    packed = [rows(a, steps, steps.last) for a in d_state]
    if kept is not None:
        dh = _widened(packed[0], heads)
        blocks = None if state0 is None else _blocks(packed[1:], heads)
        work = len(steps.index) * 2 * run.kernel.shape[1] * (len(run.kernel) + depth)
        threads, bounds = share(len(h0), work, units, steps, norm=False)
        _recurrent_backward.backward(
            kept, state0, x.reshape(-1, x.shape[2]), y.reshape(-1, units), h0, run.kernel,
            run.recurrent_kernel, mask, _phi(run.cell),
            None if dy is None else dy.reshape(-1, units), dh, blocks, steps.counts[0],
            steps.offsets, steps.index, chunks(steps, CHUNK), bounds, threads, *grads[:2],
            None if run.bias is None else grads[2],
            None if dx is None else dx.reshape(-1, x.shape[2]))  # fmt: skip
        _narrow(dh, packed[0], heads)  # takes no memory: what is kept is used up
        if blocks is not None:
            _unblock(blocks, packed[1:], heads)
    return dx, grads, tuple(unrows(a, steps, out, steps.first)
                            for a, out in zip(packed, finals, strict=True))  # fmt: skip


def _phi(cell: Cell) -> tuple[str, float, float, float, float] | None:
    return None if cell.activation is None else kernel_activation(cell.activation)


def _widened(array: Array, heads: int) -> Array:
    """(B, H) to (B, HP): zeros up to whole unit blocks in every head."""
    batch, units = array.shape
    depth = units // heads
    wide = np.zeros((batch, heads, -(-depth // 16) * 16), np.float32)
    wide[:, :, :depth] = array.reshape(batch, heads, depth)
    return wide.reshape(batch, wide.shape[1] * wide.shape[2])


def _narrow(wide: Array, out: Array, heads: int) -> None:
    """(B, HP) to (B, H)"""
    batch, columns = wide.shape
    parts = out.reshape(batch, heads, -1)
    parts[...] = wide.reshape(batch, heads, columns // heads)[:, :, : parts.shape[2]]


def _blocks(arrays: list[Array], heads: int) -> Array:
    """n arrays (B, H) to (NU, B, 16 n)"""
    wide = np.stack([_widened(a, heads) for a in arrays], axis=1)  # (B, n, HP)
    batch, n, columns = wide.shape
    parts = wide.reshape(batch, n, columns // 16, 16).transpose(2, 0, 1, 3)
    return parts.reshape(columns // 16, batch, n * 16)


def _unblock(blocks: Array, out: list[Array], heads: int) -> None:
    """(NU, B, 16 n) to n arrays (B, H)"""
    count, batch, width = blocks.shape
    by_head = blocks.reshape(heads, count // heads, batch, width // 16, 16)
    for n, array in enumerate(out):
        parts = array.reshape(batch, heads, -1)
        for k in range(count // heads):
            part = parts[:, :, 16 * k : 16 * k + 16]
            part[...] = by_head[:, k, :, n, : part.shape[2]].transpose(1, 0, 2)
