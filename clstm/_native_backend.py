"""The `native` backend: the interface of `_reference` in float32, over the kernels of csrc/."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import activations
from ._cell import NO_NOISE, PLAIN, Cell, Noise
from ._checkpoints import choose, cuts
from ._kernels import _native_backward, _native_forward, _parallel
from ._kernels._cell import CellOptions
from ._kernels._gemm import matmul  # noqa: F401 - part of the interface
from ._kernels._norm import LayerNorms
from ._kernels._packed import PackedWeights
from ._kernels._projection import OutputProjection
from ._steps import Steps, plan, rows, shared_rows, unrows

Array = np.ndarray

GRAIN = 1 << 18  # multiplications of a call that make another thread worth waking
STEP_GRAIN = 1 << 13  # and of a step, if threads wait for each other at its end
ROWS_UNITS = 128  # units up to which teams are divided by rows
CHUNK = 512  # packed rows that are one chain in the sums of the weights' gradients
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


def _share(batch: int, work: int, units: int, steps: Steps, norm: bool) -> tuple[int, Array]:
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


def _chunks(steps: Steps) -> Array:
    """The steps at which the chunks of a backward run begin, and S: CHUNK packed rows or more."""
    offsets, chunks = steps.offsets, [0]
    while (step := chunks[-1]) < len(offsets) - 1:
        enough = np.searchsorted(offsets, offsets[step] + CHUNK)
        chunks.append(min(int(enough), len(offsets) - 1))
    return np.array(chunks)


def _segments(steps: Steps, every: int) -> Iterator[Steps]:
    """The steps in pieces of `every` or more, each of whole chunks: so they change no bit."""
    for begin, end in itertools.pairwise(cuts(_chunks(steps), every)):
        first, beyond = steps.offsets[begin], steps.offsets[end]
        yield steps._replace(
            counts=steps.counts[:, begin:end],
            offsets=steps.offsets[begin : end + 1] - first,
            index=steps.index[first:beyond],
        )


def supports(cell: Cell, noise: Noise) -> bool:
    """Whether the kernels know a cell: these activations, no zoneout of what is cut or normalised
    after it, and no peepholes in what is normalised."""
    phis = (cell.activation, cell.recurrent_activation, cell.cell_activation)
    return cell is PLAIN or (
        (cell.proj_clip is None or noise.zoneout_h is None)
        and (cell.cell_norm is None or noise.zoneout_c is None)
        and (cell.layer_norm != "gate" or cell.peephole is None)
        and all(_activation(phi) is not None for phi in phis)
    )


def _activation(phi: activations.Activation) -> tuple[str, float, float, float, float] | None:
    """(kind, alpha, beta, least, most) as `CellOptions` takes them; None: no kernel knows it."""
    if not activations.is_known(phi):
        return None
    if phi.name in ("tanh", "sigmoid", "softsign"):
        return phi.name, 0, 0, 0, 0
    alpha, beta = phi.parameters if len(phi.parameters) == 2 else (1, 0)
    bounds = {"relu": (0, np.inf), "relu6": (0, 6), "hard_tanh": (-1, 1), "hard_sigmoid": (0, 1),
              "linear": (-np.inf, np.inf), "affine": (-np.inf, np.inf)}  # fmt: skip
    if phi.name not in bounds or alpha < 0:
        return None
    return "clamped", alpha, beta, *bounds[phi.name]


def _options(cell: Cell, noise: Noise) -> CellOptions | None:
    if cell is PLAIN and not any(a is not None for a in noise[1:]):
        return None
    return CellOptions(
        _activation(cell.activation),
        _activation(cell.recurrent_activation),
        _activation(cell.cell_activation),
        cell.coupled_input_forget,
        cell.cell_norm is not None,
        cell.cell_clip or np.inf,
        cell.preactivation_clip or np.inf,
        cell.gradient_clip or np.inf,
        None if cell.peephole is None else _widened(cell.peephole),
        *(None if a is None else a.reshape(-1, a.shape[-1]) for a in noise[1:]),
    )


def _projection(cell: Cell) -> OutputProjection | None:
    if cell.projection is None:
        return None
    return OutputProjection(cell.projection, cell.projection_bias, cell.proj_clip or np.inf)


def _norms(cell: Cell, bias: Array | None, batch: int, units: int, rows: int, threads: int
           ) -> LayerNorms | None:  # fmt: skip
    if cell.layer_norm is None:
        return None
    return LayerNorms(
        cell.layer_norm,
        _in_blocks(cell.norm_gain.reshape(-1, 4, units)),
        _in_blocks(np.zeros((4, units)) if bias is None else bias.reshape(4, units)),
        None if cell.cell_norm is None else _in_blocks(cell.cell_norm[:, None]),
        batch, units, rows, threads, cell.norm_epsilon)  # fmt: skip


def _in_blocks(array: Array) -> Array:
    """(..., parts, H) as unit blocks (..., NU, parts, 16), zeros where a unit does not exist."""
    *some, parts, units = array.shape
    blocks = -(-units // 16)
    wide = np.zeros((*some, parts, blocks * 16), np.float32)
    wide[..., :units] = array
    return np.ascontiguousarray(np.swapaxes(wide.reshape(*some, parts, blocks, 16), -3, -2))


def _add_blocks(target: Array, blocks: Array) -> None:
    """Add what `_in_blocks` would have made."""
    wide = np.swapaxes(blocks, -3, -2).reshape(*blocks.shape[:-3], blocks.shape[-2], -1)
    target += wide[..., : target.shape[-1]]


def _widened(array: Array) -> Array:
    """(rows, H) with zeros up to whole unit blocks."""
    wide = np.zeros((len(array), -(-array.shape[1] // 16) * 16), np.float32)
    wide[:, : array.shape[1]] = array
    return wide


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
        recurrent_mask = _widened(shared_rows(recurrent_mask, steps))
    if panels is None:
        panels = len(steps.index) > RAW_ROWS or units % 16 != 0
    saved = Saved(x, y, h0, kernel, recurrent_kernel, bias, recurrent_mask, _options(cell, noise),
                  _projection(cell), steps, cell, None, None)  # fmt: skip
    if keep and memory_budget is not None:
        tape = (h0, recurrent_mask, *steps)
        others = sum(a.nbytes for a in tape if isinstance(a, np.ndarray))
        position, row = _kept_floats(cell, units)
        checkpoint_every = choose(
            memory_budget, others, _chunks(steps), steps.offsets, state=h.nbytes + c.nbytes,
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


def pack_weights(kernel: Array, recurrent_kernel: Array, bias: Array | None, cell: Cell
                 ) -> PackedWeights:  # fmt: skip
    """Panels; the bias of layer norm, which is added after it, is not in them."""
    return PackedWeights(kernel, recurrent_kernel, None if cell.layer_norm else bias)


def _kept_floats(cell: Cell, units: int) -> tuple[int, int]:
    """What `forward` and `LayerNorms` keep for each position, and for each row beside that."""
    wide, of_cell = -(-units // 16) * 16, cell.cell_norm is not None
    norms = {None: 0, "gate": 1, "joint": 2}[cell.layer_norm]
    position = 5 + (cell.projection is not None) + 4 * norms + of_cell  # i f g o, c; m; values
    count = norms + of_cell
    return wide * position + 8 * count, wide + wide // 2 * count + 2 * wide * of_cell


def _forward(run: Saved, steps: Steps, h: Array, c: Array, panels: Any, keep: bool
             ) -> tuple[Array | None, LayerNorms | None]:  # fmt: skip
    """y of these steps; h, c in packed order become the state after them.

    Returns what the kernels kept (None: no position is valid), and what layer norm did.
    """
    outputs, units, features = h.shape[1], c.shape[1], run.x.shape[2]
    work = len(steps.index) * 4 * units * (features + outputs)
    threads, bounds = _share(len(h), work, units, steps, run.cell.layer_norm is not None)
    norms = _norms(run.cell, run.bias, len(h), units, len(steps.index) if keep else len(h), threads)
    kept = _native_forward.forward(
        run.x.reshape(-1, features), run.kernel, run.recurrent_kernel,
        None if norms else run.bias, panels, h, c, run.recurrent_mask, run.options, norms,
        run.projection, run.y.reshape(-1, outputs), steps.counts[0], steps.offsets, steps.index,
        bounds, threads, keep)  # fmt: skip
    return kept, norms


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
    d_peephole = _widened(d_cell["peephole"]) if "peephole" in d_cell else None
    sums = (d_kernel, d_recurrent, d_bias, d_cell.get("projection"), d_cell.get("projection_bias"))
    d_norms = _norm_gradients(saved.cell, units)
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
        gains, shift, of_cell = d_norms
        gain = d_cell["norm_gain"]
        _add_blocks(gain.reshape(-1, 4, units), gains)
        if d_bias is not None:
            _add_blocks(d_bias.reshape(4, units), shift)
        if of_cell is not None:
            _add_blocks(d_cell["cell_norm"][:, None], of_cell)
    return dx, unrows(dh, steps, dh0, steps.first), unrows(dc, steps, dc0, steps.first)


def _norm_gradients(cell: Cell, units: int) -> tuple[Array, Array, Array | None] | None:
    """Zeros in blocks for the gradients of gains, bias, and the cell's gain and shift."""
    if cell.layer_norm is None:
        return None
    return (_in_blocks(np.zeros((cell.norm_gain.size // (4 * units), 4, units))),
            _in_blocks(np.zeros((4, units))),
            None if cell.cell_norm is None else _in_blocks(np.zeros((2, 1, units))))  # fmt: skip


def _backward(run: Saved, steps: Steps, h0: Array, kept: Any, dy: Array | None, dh: Array,
              dc: Array, sums: tuple[Array | None, ...], dx: Array | None,
              d_peephole: Array | None, d_norms: Any) -> None:  # fmt: skip
    """Gradients of these steps; dh, dc of the state after them become those of the one before."""
    outputs, units, features = dh.shape[1], dc.shape[1], run.x.shape[2]
    d_kernel, d_recurrent, d_bias, *d_projections = sums
    values, norms = kept
    threads, bounds = _share(len(dh), len(steps.index) * 8 * units * (features + outputs), units,
                             steps, norms is not None)  # fmt: skip
    if norms is not None:
        norms.begin_backward(threads, *d_norms)
        d_bias = None
    _native_backward.backward(
        values, run.x.reshape(-1, features), run.y.reshape(-1, outputs), h0, run.kernel,
        run.recurrent_kernel, run.recurrent_mask, run.options, norms, run.projection,
        None if dy is None else dy.reshape(-1, outputs), dh, dc, steps.counts[0], steps.offsets,
        steps.index, _chunks(steps), bounds, threads, d_kernel, d_recurrent, d_bias,
        None if dx is None else dx.reshape(-1, features), d_peephole, *d_projections)  # fmt: skip
