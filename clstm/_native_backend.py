"""The `native` backend: the interface of `_reference` in float32, over the kernels of csrc/."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ._cell import NO_NOISE, PLAIN, Cell, Noise
from ._checkpoints import choose, cuts
from ._kernels import _native_backward, _native_forward, _parallel
from ._kernels._cell import CellOptions
from ._kernels._gemm import matmul  # noqa: F401 - part of the interface
from ._kernels._norm import LayerNorms
from ._kernels._projection import OutputProjection
from ._native_cell import (
    add_norm_gradients,
    cell_options,
    kept_floats,
    layer_norms,
    norm_gradients,
    output_projection,
    pack_weights,
    supports,  # noqa: F401 - part of the interface
    widened,
)
from ._steps import Steps, chunks, plan, rows, shared_rows, unrows

Array = np.ndarray

GRAIN = 1 << 18  # multiplications of a call that make another thread worth waking
STEP_GRAIN = 1 << 14  # and of a step, if threads wait for each other at its end
ROWS_UNITS = 128  # units up to which teams are divided by rows
CHUNK = 512  # packed rows, or more, that are one chain in the sums of the weights' gradients
RAW_ROWS = 16  # so few packed rows do not pay for packing the weights


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    x: Array
    y: Array
    h0: Array  # in packed order
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    recurrent_mask: Array | None
    options: CellOptions | None  # None: the plain cell
    projection: OutputProjection | None
    steps: Steps
    cell: Cell
    kept: tuple[Array | None, LayerNorms | None] | None  # as `_forward` gives it
    segments: list[Segment] | None  # instead of `kept`, if it is to be computed again


class Segment(NamedTuple):
    """Some steps of a run, and the state before them."""

    steps: Steps
    h: Array
    c: Array


def share(batch: int, work: int, units: int, steps: Steps, norm: bool) -> tuple[int, Array]:
    """How many threads, and where the row groups of the team begin.

    Groups of rows need no barriers, but each thread reads all weights: where those fit into a
    core's cache and every thread has some tiles of rows. Else one group, shared out by units; with
    layer norm always.
    """
    threads = _parallel.size(work, GRAIN)
    if threads == 1:
        return 1, np.array([0, batch])
    if norm or batch < 6 * threads or units > ROWS_UNITS:
        per_step = work // len(steps.counts[0])
        threads = max(1, min(threads, -(-units // 16), per_step // STEP_GRAIN))
        return threads, np.array([0, batch])
    if steps.full:
        return threads, np.arange(threads + 1) * batch // threads
    lengths = np.searchsorted(-steps.counts[0], -np.arange(batch), side="left")
    total = np.concatenate([[0], np.cumsum(lengths)])
    return threads, np.searchsorted(total, total[-1] * np.arange(threads + 1) / threads)


def _segments(steps: Steps, every: int) -> Iterator[Steps]:
    """The steps in pieces of `every` or more, each of whole chunks: so they change no bit."""
    for begin, end in itertools.pairwise(cuts(chunks(steps, CHUNK), every)):
        first, beyond = steps.offsets[begin], steps.offsets[end]
        yield steps._replace(
            counts=steps.counts[:, begin:end],
            offsets=steps.offsets[begin : end + 1] - first,
            index=steps.index[first:beyond],
        )


def lstm_forward(
    x: Array, kernel: Array, recurrent_kernel: Array, bias: Array | None, h: Array, c: Array, *,
    mask: Array | None = None, resets: Array | None = None, reverse: bool = False,
    noise: Noise = NO_NOISE, cell: Cell = PLAIN, time_major: bool = False,
    keep: bool = True, checkpoint_every: int | None = None, memory_budget: int | None = None,
    panels: tuple[Array, ...] | bool | None = None,
) -> tuple[Array, Array, Array, Saved | None]:  # fmt: skip
    """As `_reference.lstm_forward`, of float32 arrays.

    checkpoint_every: keep the state before every so many steps, or a few more, and nothing else.
    memory_budget: bytes, by which checkpoint_every is chosen; ValueError if they are too few.
    panels: those of a `PackedWeights`, if the weights are packed already.
    """
    batch, time = (x.shape[1], x.shape[0]) if time_major else x.shape[:2]
    outputs, units = len(recurrent_kernel), c.shape[1]
    steps = plan(batch, time, mask, reverse, time_major, resets=resets)
    y = (np.empty if steps.full else np.zeros)((*x.shape[:2], outputs), x.dtype)
    h_out, c_out = np.empty_like(h), np.empty_like(c)
    h, c = rows(h, steps, steps.first), rows(c, steps, steps.first)
    h0 = h.copy() if keep else None
    recurrent_mask = noise.recurrent_mask
    if recurrent_mask is not None:
        recurrent_mask = widened(shared_rows(recurrent_mask, steps))
    if panels is None:
        panels = len(steps.index) > RAW_ROWS or units % 16 != 0
    saved = Saved(x, y, h0, kernel, recurrent_kernel, bias, recurrent_mask,
                  cell_options(cell, noise), output_projection(cell), steps, cell, None,
                  None)  # fmt: skip
    if keep and memory_budget is not None:
        tape = (h0, recurrent_mask, *steps)
        others = sum(a.nbytes for a in tape if isinstance(a, np.ndarray))
        position, row = kept_floats(cell, units)
        checkpoint_every = choose(
            memory_budget, others, chunks(steps, CHUNK), steps.offsets, state=h.nbytes + c.nbytes,
            position=4 * position, once=4 * row * len(h) + 64,  # and room to align it
        )  # fmt: skip
    if keep and checkpoint_every:
        panels = pack_weights(kernel, recurrent_kernel, bias, cell).panels
        segments = []
        for part in _segments(steps, checkpoint_every):
            segments.append(Segment(part, h.copy(), c.copy()))
            _forward(saved, part, h, c, panels, keep=False)
        saved = saved._replace(segments=segments)
    else:
        kept = _forward(saved, steps, h, c, panels, keep)
        saved = saved._replace(kept=kept)
    return (y, unrows(h, steps, h_out, steps.last), unrows(c, steps, c_out, steps.last),
            saved if keep else None)  # fmt: skip


def _forward(run: Saved, steps: Steps, h: Array, c: Array, panels: Any, keep: bool
             ) -> tuple[Array | None, LayerNorms | None]:  # fmt: skip
    """y of these steps; h, c in packed order become the state after them.

    Returns what the kernels kept (None: no position is valid), and what layer norm did.
    """
    outputs, units, features = h.shape[1], c.shape[1], run.x.shape[2]
    work = len(steps.index) * 4 * units * (features + outputs)
    threads, bounds = share(len(h), work, units, steps, run.cell.layer_norm is not None)
    kept_rows = len(steps.index) if keep else len(h)
    norms = None
    if len(steps.index):
        norms = layer_norms(run.cell, run.bias, len(h), units, kept_rows, threads)
    kept = _native_forward.forward(
        run.x.reshape(-1, features), run.kernel, run.recurrent_kernel,
        None if norms else run.bias, panels, h, c, run.recurrent_mask, run.options, norms,
        run.projection, run.y.reshape(-1, outputs), steps.counts[0], steps.offsets, steps.index,
        bounds, threads, keep)  # fmt: skip
    return kept, norms


def lstm_gates(saved: Saved) -> tuple[Array, Array]:
    """As `_reference.lstm_gates`; ValueError of a run with checkpoint_every."""
    if saved.segments is not None:
        raise ValueError("tape: expected one of a run without checkpoint_every, got one with it")
    count, units = len(saved.steps.index), saved.kernel.shape[1] // 4
    blocks = -(-units // 16)
    positions = saved.x.shape[:2]
    cells = np.zeros((*positions, units), np.float32)
    gates = np.zeros((*positions, 4, units), np.float32)
    values, _ = saved.kept
    if values is None:
        return cells, gates.reshape(*positions, 4 * units)
    end = blocks * count * 64
    kept = values[:end].reshape(blocks, count, 4, 16).transpose(1, 2, 0, 3)
    gates.reshape(-1, 4, units)[saved.steps.index] = kept.reshape(count, 4, -1)[..., :units]
    kept = values[end : end + blocks * count * 16].reshape(blocks, count, 16)
    kept = kept.transpose(1, 0, 2).reshape(count, -1)
    cells.reshape(-1, units)[saved.steps.index] = kept[:, :units]
    return cells, gates.reshape(*positions, -1)


def lstm_backward(
    saved: Saved, dy: Array | None, dh: Array, dc: Array, d_kernel: Array, d_recurrent: Array,
    d_bias: Array | None, need_dx: bool = True, d_cell: dict[str, Array] | None = None,
) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """As `_reference.lstm_backward`, of float32 arrays."""
    steps, units = saved.steps, dc.shape[1]
    dh0, dc0 = np.empty_like(dh), np.empty_like(dc)  # no memory: no change
    dh, dc = rows(dh, steps, steps.last), rows(dc, steps, steps.last)
    dx = None
    if need_dx:
        dx = (np.empty if steps.full else np.zeros)(saved.x.shape, np.float32)
    d_cell = d_cell or {}
    d_peephole = widened(d_cell["peephole"]) if "peephole" in d_cell else None
    sums = (d_kernel, d_recurrent, d_bias, d_cell.get("projection"), d_cell.get("projection_bias"))
    d_norms = norm_gradients(saved.cell, units)
    if saved.segments is None:
        _backward(saved, steps, saved.h0, saved.kept, dy, dh, dc, sums, dx, d_peephole, d_norms)
    else:
        panels = pack_weights(saved.kernel, saved.recurrent_kernel, saved.bias, saved.cell).panels
        before = [None if d is None else d.copy() for d in sums]
        try:
            for part, h, c in reversed(saved.segments):
                kept = _forward(saved, part, h.copy(), c.copy(), panels, keep=True)
                _backward(saved, part, h, kept, dy, dh, dc, sums, dx, d_peephole, d_norms)
                del kept  # before the next is made
        except BaseException:  # no memory for a later segment, or Ctrl-C
            for d, old in zip(sums, before, strict=True):
                if d is not None:
                    d[...] = old
            raise
    if d_peephole is not None:
        d_cell["peephole"][...] = d_peephole[:, :units]
    if d_norms is not None:
        add_norm_gradients(d_norms, d_bias, d_cell, units)
    return dx, unrows(dh, steps, dh0, steps.first), unrows(dc, steps, dc0, steps.first)


def _backward(run: Saved, steps: Steps, h0: Array, kept: Any, dy: Array | None, dh: Array,
              dc: Array, sums: tuple[Array | None, ...], dx: Array | None,
              d_peephole: Array | None, d_norms: Any) -> None:  # fmt: skip
    """Gradients of these steps; dh, dc of the state after them become those of the one before."""
    outputs, units, features = dh.shape[1], dc.shape[1], run.x.shape[2]
    d_kernel, d_recurrent, d_bias, *d_projections = sums
    values, norms = kept
    threads, bounds = share(len(dh), len(steps.index) * 8 * units * (features + outputs), units,
                             steps, norms is not None)  # fmt: skip
    if norms is not None:
        norms.begin_backward(threads, *d_norms)
        d_bias = None
    _native_backward.backward(
        values, run.x.reshape(-1, features), run.y.reshape(-1, outputs), h0, run.kernel,
        run.recurrent_kernel, run.recurrent_mask, run.options, norms, run.projection,
        None if dy is None else dy.reshape(-1, outputs), dh, dc, steps.counts[0], steps.offsets,
        steps.index, chunks(steps, CHUNK), bounds, threads, d_kernel, d_recurrent, d_bias,
        None if dx is None else dx.reshape(-1, features), d_peephole, *d_projections)  # fmt: skip
