"""The `native` backend: the interface of `_reference` in float32, over the kernels of csrc/."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._kernels import _native_backward, _native_forward, _parallel
from ._kernels._gemm import matmul  # noqa: F401 - part of the interface
from ._steps import Steps, plan, rows, unrows

Array = np.ndarray

GRAIN = 1 << 18  # multiplications of a call that make another thread worth waking
STEP_GRAIN = 1 << 13  # and of a step, if threads wait for each other at its end
ROWS_UNITS = 128  # units up to which teams are divided by rows
RAW_ROWS = 16  # so few packed rows do not pay for packing the weights


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    x: Array
    y: Array
    h0: Array  # in packed order
    kernel: Array
    recurrent_kernel: Array
    recurrent_mask: Array | None
    steps: Steps
    time_major: bool
    kept: Array | None  # gates, cells and c0 in blocks; None: no position is valid


def _share(batch: int, work: int, units: int, steps: Steps) -> tuple[int, Array]:
    """How many threads, and where the row groups of the team begin.

    Groups of rows need no barriers, but each thread reads all weights: where those fit into a
    core's cache and every thread has some tiles of rows. Else one group, shared out by units.
    """
    threads = _parallel.size(work, GRAIN)
    if threads == 1:
        return 1, np.array([0, batch])
    if batch < 6 * threads or units > ROWS_UNITS:
        per_step = work // len(steps.counts[0])
        threads = max(1, min(threads, -(-units // 16), per_step // STEP_GRAIN))
        return threads, np.array([0, batch])
    if steps.full:
        return threads, np.arange(threads + 1) * batch // threads
    lengths = np.searchsorted(-steps.counts[0], -np.arange(batch), side="left")
    total = np.concatenate([[0], np.cumsum(lengths)])
    return threads, np.searchsorted(total, total[-1] * np.arange(threads + 1) / threads)


def lstm_forward(
    x: Array, kernel: Array, recurrent_kernel: Array, bias: Array | None, h: Array, c: Array, *,
    mask: Array | None = None, reverse: bool = False, recurrent_mask: Array | None = None,
    time_major: bool = False, keep: bool = True, panels: tuple[Array, ...] | bool | None = None,
) -> tuple[Array, Array, Array, Saved | None]:  # fmt: skip
    """As `_reference.lstm_forward`, of float32 arrays.

    panels: those of a `PackedWeights`, if the weights are packed already.
    """
    batch, time = (x.shape[1], x.shape[0]) if time_major else x.shape[:2]
    units = len(recurrent_kernel)
    steps = plan(batch, time, mask, reverse, time_major)
    work = len(steps.index) * 4 * units * (x.shape[2] + units)
    threads, bounds = _share(batch, work, units, steps)
    y = (np.empty if steps.full else np.zeros)((*x.shape[:2], units), x.dtype)
    h, c = rows(h, steps), rows(c, steps)
    h0 = h.copy() if keep else None
    if recurrent_mask is not None:
        wide = np.zeros((batch, -(-units // 16) * 16), np.float32)
        wide[:, :units] = rows(recurrent_mask, steps)
        recurrent_mask = wide
    if panels is None:
        panels = len(steps.index) > RAW_ROWS or units % 16 != 0
    kept = _native_forward.forward(
        x.reshape(-1, x.shape[2]), kernel, recurrent_kernel, bias, panels, h, c, recurrent_mask,
        y.reshape(-1, units), steps.counts[0], steps.offsets, steps.index, bounds, threads,
        keep)  # fmt: skip
    saved = None
    if keep:
        saved = Saved(x, y, h0, kernel, recurrent_kernel, recurrent_mask, steps, time_major, kept)
    return y, unrows(h, steps), unrows(c, steps), saved


def lstm_backward(
    saved: Saved, dy: Array | None, dh: Array, dc: Array, d_kernel: Array, d_recurrent: Array,
    d_bias: Array | None, need_dx: bool = True,
) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """As `_reference.lstm_backward`, of float32 arrays."""
    steps, units, features = saved.steps, len(saved.recurrent_kernel), saved.x.shape[2]
    dh, dc = rows(dh, steps), rows(dc, steps)
    dh0, dc0 = np.empty_like(dh), np.empty_like(dc)  # no memory: no change
    dx = None
    if need_dx:
        dx = (np.empty if steps.full else np.zeros)(saved.x.shape, np.float32)
    work = len(steps.index) * 8 * units * (features + units)
    threads, bounds = _share(len(dh), work, units, steps)
    _native_backward.backward(
        saved.kept, saved.x.reshape(-1, features), saved.y.reshape(-1, units), saved.h0,
        saved.kernel, saved.recurrent_kernel, saved.recurrent_mask,
        None if dy is None else dy.reshape(-1, units), dh, dc, steps.counts[0], steps.offsets,
        steps.index, bounds, threads, d_kernel, d_recurrent, d_bias,
        None if dx is None else dx.reshape(-1, features))  # fmt: skip
    return dx, unrows(dh, steps, dh0), unrows(dc, steps, dc0)
