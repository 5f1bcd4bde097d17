"""The LSTM in plain NumPy: the specification, the tests' oracle, the benchmark's baseline.

It is also the `numpy` backend, and the one that knows every option. The plain cell is that of
Hochreiter & Schmidhuber 1997 with the forget gate of Gers, Schmidhuber & Cummins 2000:

    i = sigmoid(x_t Wi + h_{t-1} Ui + bi)       f = sigmoid(x_t Wf + h_{t-1} Uf + bf)
    g = tanh   (x_t Wg + h_{t-1} Ug + bg)       o = sigmoid(x_t Wo + h_{t-1} Uo + bo)
    c_t = f c_{t-1} + i g                       h_t = o tanh(c_t)

The equations with all options stand in `clstm._cell`; one step is in `clstm._reference_cell`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._cell import NO_NOISE, PLAIN, Cell, Noise
from ._reference_cell import Step, step, step_back

Array = np.ndarray


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    x: Array  # (B, T, I), 0 at invalid positions
    kernel: Array
    recurrent_kernel: Array
    mask: Array | None  # (B, T)
    resets: Array | None  # (B, T)
    noise: Noise
    cell: Cell
    times: range  # the positions in the order of the steps
    steps: list[Step]
    time_major: bool  # of the caller's x and y


def supports(cell: Cell, noise: Noise) -> bool:
    """Everything."""
    return True


def lstm_forward(
    x: Array, kernel: Array, recurrent_kernel: Array, bias: Array | None, h: Array, c: Array, *,
    mask: Array | None = None, resets: Array | None = None, reverse: bool = False,
    noise: Noise = NO_NOISE, cell: Cell = PLAIN, time_major: bool = False,
    keep: bool = True,
) -> tuple[Array, Array, Array, Saved | None]:  # fmt: skip
    """Run the LSTM over x (B, T, I), or (T, B, I) if time_major, from h (B, P) and c (B, H).

    mask (B, T): at False positions nothing happens, y is 0 there; resets (B, T): at True ones,
    valid or not, the state becomes 0 before the step; reverse: from the last position to the first.
    Returns y (B, T, P), or (T, B, P), the final h and c, and what `lstm_backward` needs if `keep`.
    P is H without a projection.
    """
    if time_major:
        x = np.swapaxes(x, 0, 1)
    if mask is not None:
        x = np.where(mask[:, :, None], x, 0)  # what stands in the padding may be NaN
        valid = (mask.T if time_major else mask)[:, :, None]
        noise = Noise(*(a if a is None or a.ndim == 2 else np.where(valid, a, 0) for a in noise))
    B, T = x.shape[:2]
    y = np.zeros((B, T, h.shape[1]), x.dtype)
    times = range(T - 1, -1, -1) if reverse else range(T)
    steps = []
    for t in times:
        if resets is not None:
            h, c = np.where(resets[:, t, None], 0, h), np.where(resets[:, t, None], 0, c)
        h_in = h if noise.recurrent_mask is None else h * noise.recurrent_mask
        h_new, new = step(cell, _at(noise, t, time_major), x[:, t] @ kernel,
                          h_in @ recurrent_kernel, bias, c, h, h_in)  # fmt: skip
        if keep:
            steps.append(new)
        if mask is None:
            h, c, y[:, t] = h_new, new.c, h_new
        else:
            valid = mask[:, t, None]
            y[:, t] = np.where(valid, h_new, 0)
            h, c = np.where(valid, h_new, h), np.where(valid, new.c, c)
    saved = Saved(x, kernel, recurrent_kernel, mask, resets, noise, cell, times, steps,
                  time_major) if keep else None  # fmt: skip
    return (np.swapaxes(y, 0, 1) if time_major else y), h, c, saved


def _at(noise: Noise, t: int, time_major: bool) -> Noise:
    """The noise of step t."""

    def at(a: Array | None) -> Array | None:
        return a if a is None or a.ndim == 2 else a[t] if time_major else a[:, t]

    return Noise(*map(at, noise))


def lstm_gates(saved: Saved) -> tuple[Array, Array]:
    """c of all steps and the gates i f g o, (B, T, H) and (B, T, 4H), or (T, B, ...) as y.

    0 where `mask` is False.
    """
    B, T = saved.x.shape[:2]
    units = saved.recurrent_kernel.shape[1] // 4
    cells, gates = (np.zeros((B, T, n), saved.x.dtype) for n in (units, 4 * units))
    for t, s in zip(saved.times, saved.steps, strict=True):
        cells[:, t], gates[:, t] = s.c, np.concatenate(s.gates, axis=1)
    if saved.mask is not None:
        cells[~saved.mask] = gates[~saved.mask] = 0
    if saved.time_major:
        return np.swapaxes(cells, 0, 1), np.swapaxes(gates, 0, 1)
    return cells, gates


def lstm_backward(
    saved: Saved, dy: Array | None, dh: Array, dc: Array, d_kernel: Array, d_recurrent: Array,
    d_bias: Array | None, need_dx: bool = True, d_cell: dict[str, Array] | None = None,
    record: Callable[[int, Array, Array], None] | None = None,
) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """Gradients from dy, shaped as y, or None, and dh (B, P), dc (B, H) of the final state.

    The weights' gradients are added to d_kernel, d_recurrent, d_bias and d_cell, which has those of
    `cell.weights`. Returns dx, dh0, dc0.
    record: is called with each t, dL/dh_t and dL/dc_t, c_t before its clip and zoneout.
    """
    x, mask, cell = saved.x, saved.mask, saved.cell
    if dy is not None and saved.time_major:
        dy = np.swapaxes(dy, 0, 1)
    dx = np.zeros_like(x) if need_dx else None
    sums = [np.zeros_like(d) for d in (d_kernel, d_recurrent)]
    bias_sum = None if d_bias is None else np.zeros_like(d_bias)
    cell_sums = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
    for t, taken in zip(reversed(saved.times), reversed(saved.steps), strict=True):

        def valid(new: Array, old: Array | int = 0, t: int = t) -> Array:
            return new if mask is None else np.where(mask[:, t, None], new, old)

        dh_new = dh if dy is None else dh + dy[:, t]
        dzx, dzh, dz, dc_prev, dh_kept, dc_new = step_back(cell, taken, dh_new, dc, valid,
                                                           cell_sums)  # fmt: skip
        if record is not None:
            record(t, dh_new, dc_new)
        if dx is not None:
            dx[:, t] = dzx @ saved.kernel.T
        sums[0] += x[:, t].T @ dzx
        sums[1] += taken.h_in.T @ dzh
        if bias_sum is not None:
            bias_sum += dz.sum(axis=0)
        dh_prev = dzh @ saved.recurrent_kernel.T
        if saved.noise.recurrent_mask is not None:
            dh_prev = dh_prev * saved.noise.recurrent_mask
        dh, dc = valid(dh_prev + dh_kept, dh), valid(dc_prev, dc)
        if saved.resets is not None:
            reset = saved.resets[:, t, None]
            dh, dc = np.where(reset, 0, dh), np.where(reset, 0, dc)
    if dx is not None and saved.time_major:
        dx = np.swapaxes(dx, 0, 1)
    d_kernel += sums[0]  # at the end: an error before changes nothing
    d_recurrent += sums[1]
    if d_bias is not None:
        d_bias += bias_sum
    for name, total in cell_sums.items():
        d_cell[name] += total
    return dx, dh, dc


def matmul(a: Array, b: Array, out: Array, transpose_a: bool = False, transpose_b: bool = False,
           accumulate: bool = False) -> None:  # fmt: skip
    """out = op(a) op(b), or out += with `accumulate`; op transposes where asked."""
    product = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    out[...] = out + product if accumulate else product
