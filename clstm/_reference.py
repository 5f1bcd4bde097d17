"""The LSTM in plain NumPy: the specification, the tests' oracle, the benchmark's baseline.

It is also the `numpy` backend, and the one that knows every option. The plain cell is that of
Hochreiter & Schmidhuber 1997 with the forget gate of Gers, Schmidhuber & Cummins 2000:

    i = sigmoid(x_t Wi + h_{t-1} Ui + bi)       f = sigmoid(x_t Wf + h_{t-1} Uf + bf)
    g = tanh   (x_t Wg + h_{t-1} Ug + bg)       o = sigmoid(x_t Wo + h_{t-1} Uo + bo)
    c_t = f c_{t-1} + i g                       h_t = o tanh(c_t)

The equations with all options stand in `clstm._cell`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._cell import PLAIN, Cell

Array = np.ndarray


class Step(NamedTuple):
    """What backward needs of one step; z are what enters the activations, before clipping."""

    h_in: Array  # h_{t-1} as it enters the product
    c_prev: Array
    z: list[Array]  # of i f g o
    gates: list[Array]
    c_raw: Array  # before clipping
    c: Array
    m: Array  # before the projection
    h_raw: Array  # before clipping


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    x: Array  # (B, T, I), 0 at invalid positions
    kernel: Array
    recurrent_kernel: Array
    mask: Array | None  # (B, T)
    resets: Array | None  # (B, T)
    recurrent_mask: Array | None  # (B, P)
    cell: Cell
    times: range  # the positions in the order of the steps
    steps: list[Step]
    time_major: bool  # of the caller's x and y


def supports(cell: Cell) -> bool:
    """Everything."""
    return True


def _clip(a: Array, bound: float | None) -> Array:
    return a if bound is None else np.clip(a, -bound, bound)


def _unclip(da: Array, a: Array, bound: float | None) -> Array:
    """The gradient before _clip(a): 0 where a was cut."""
    return da if bound is None else np.where(np.abs(a) < bound, da, 0)


def _step(cell: Cell, z: list[Array], c_prev: Array, h_in: Array) -> tuple[Array, Step]:
    """h_t, and all of the step, from z = x W + h U + b."""
    phi, phi_r = cell.activation.forward, cell.recurrent_activation.forward
    zi, zf, zg, zo = z
    if cell.peephole is not None:
        zi, zf = zi + cell.peephole[0] * c_prev, zf + cell.peephole[1] * c_prev
    f = phi_r(_clip(zf, cell.preactivation_clip))
    i = 1 - f if cell.coupled_input_forget else phi_r(_clip(zi, cell.preactivation_clip))
    g = phi(_clip(zg, cell.preactivation_clip))
    c_raw = f * c_prev + i * g
    c = _clip(c_raw, cell.cell_clip)
    if cell.peephole is not None:
        zo = zo + cell.peephole[2] * c
    o = phi_r(_clip(zo, cell.preactivation_clip))
    m = h_raw = o * cell.cell_activation.forward(c)
    if cell.projection is not None:
        h_raw = m @ cell.projection
        if cell.projection_bias is not None:
            h_raw = h_raw + cell.projection_bias
    step = Step(h_in, c_prev, [zi, zf, zg, zo], [i, f, g, o], c_raw, c, m, h_raw)
    return _clip(h_raw, cell.proj_clip), step


def _step_back(cell: Cell, s: Step, dh: Array, dc: Array, valid: Callable[[Array], Array],
               d_cell: dict[str, Array]) -> tuple[Array, Array]:  # fmt: skip
    """dz (B, 4H) and dc_{t-1} from dh_t and dc_t; adds to the gradients of the cell's weights.

    valid: sets an array to 0 where the step is not taken.
    """
    back, back_r = cell.activation.backward, cell.recurrent_activation.backward
    (zi, zf, zg, zo), (i, f, g, o) = s.z, s.gates
    dm = _unclip(dh, s.h_raw, cell.proj_clip)
    if cell.projection is not None:
        dm = valid(dm)
        d_cell["projection"] += s.m.T @ dm
        if cell.projection_bias is not None:
            d_cell["projection_bias"] += dm.sum(axis=0)
        dm = dm @ cell.projection.T

    def gate(back: Callable[[Array, Array, Array], Array], d: Array, z: Array, a: Array) -> Array:
        clipped = _clip(z, cell.preactivation_clip)
        return _unclip(back(d, clipped, a), z, cell.preactivation_clip)

    phi_c = cell.cell_activation
    a = phi_c.forward(s.c)
    dzo = gate(back_r, dm * a, zo, o)
    dc = dc + phi_c.backward(dm * o, s.c, a)
    if cell.peephole is not None:
        dc = dc + dzo * cell.peephole[2]
    dc = _unclip(dc, s.c_raw, cell.cell_clip)
    di, df = dc * g, dc * s.c_prev
    if cell.coupled_input_forget:
        dzi, df = np.zeros_like(di), df - di
    else:
        dzi = gate(back_r, di, zi, i)
    dzf, dzg = gate(back_r, df, zf, f), gate(back, dc * i, zg, g)
    dc_prev = dc * f
    dz = [valid(d) for d in (dzi, dzf, dzg, dzo)]
    if cell.peephole is not None:
        dc_prev = dc_prev + dzi * cell.peephole[0] + dzf * cell.peephole[1]
        for k, (d, c) in enumerate(((dz[0], s.c_prev), (dz[1], s.c_prev), (dz[3], s.c))):
            d_cell["peephole"][k] += (d * c).sum(axis=0)
    return np.concatenate(dz, axis=1), dc_prev


def lstm_forward(
    x: Array, kernel: Array, recurrent_kernel: Array, bias: Array | None, h: Array, c: Array, *,
    mask: Array | None = None, resets: Array | None = None, reverse: bool = False,
    recurrent_mask: Array | None = None, cell: Cell = PLAIN, time_major: bool = False,
    keep: bool = True,
) -> tuple[Array, Array, Array, Saved | None]:  # fmt: skip
    """Run the LSTM over x (B, T, I), or (T, B, I) if time_major, from h (B, P) and c (B, H).

    mask (B, T): at False positions nothing happens, y is 0 there; resets (B, T): at True ones,
    valid or not, the state becomes 0 before the step; reverse: from the last position to the first;
    recurrent_mask (B, P): factors of h_{t-1} inside the products (recurrent dropout).
    Returns y (B, T, P), or (T, B, P), the final h and c, and what `lstm_backward` needs if `keep`.
    P is H without a projection.
    """
    if time_major:
        x = np.swapaxes(x, 0, 1)
    if mask is not None:
        x = np.where(mask[:, :, None], x, 0)  # what stands in the padding may be NaN
    B, T = x.shape[:2]
    y = np.zeros((B, T, h.shape[1]), x.dtype)
    times = range(T - 1, -1, -1) if reverse else range(T)
    steps = []
    for t in times:
        if resets is not None:
            h, c = np.where(resets[:, t, None], 0, h), np.where(resets[:, t, None], 0, c)
        h_in = h if recurrent_mask is None else h * recurrent_mask
        z = x[:, t] @ kernel + h_in @ recurrent_kernel
        if bias is not None:
            z = z + bias
        h_new, step = _step(cell, np.split(z, 4, axis=1), c, h_in)
        if keep:
            steps.append(step)
        if mask is None:
            h, c, y[:, t] = h_new, step.c, h_new
        else:
            valid = mask[:, t, None]
            y[:, t] = np.where(valid, h_new, 0)
            h, c = np.where(valid, h_new, h), np.where(valid, step.c, c)
    saved = Saved(x, kernel, recurrent_kernel, mask, resets, recurrent_mask, cell, times, steps,
                  time_major) if keep else None  # fmt: skip
    return (np.swapaxes(y, 0, 1) if time_major else y), h, c, saved


def lstm_backward(
    saved: Saved, dy: Array | None, dh: Array, dc: Array, d_kernel: Array, d_recurrent: Array,
    d_bias: Array | None, need_dx: bool = True, d_cell: dict[str, Array] | None = None,
) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """Gradients from dy, shaped as y, or None, and dh (B, P), dc (B, H) of the final state.

    The weights' gradients are added to d_kernel, d_recurrent, d_bias and d_cell, which has those of
    `cell.weights`. Returns dx, dh0, dc0.
    """
    x, mask, cell = saved.x, saved.mask, saved.cell
    if dy is not None and saved.time_major:
        dy = np.swapaxes(dy, 0, 1)
    dx = np.zeros_like(x) if need_dx else None
    sums = [np.zeros_like(d) for d in (d_kernel, d_recurrent)]
    bias_sum = None if d_bias is None else np.zeros_like(d_bias)
    cell_sums = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
    for t, step in zip(reversed(saved.times), reversed(saved.steps), strict=True):

        def valid(new: Array, old: Array | int = 0, t: int = t) -> Array:
            return new if mask is None else np.where(mask[:, t, None], new, old)

        dh_new = dh if dy is None else dh + dy[:, t]
        dz, dc_prev = _step_back(cell, step, dh_new, dc, valid, cell_sums)
        if dx is not None:
            dx[:, t] = dz @ saved.kernel.T
        sums[0] += x[:, t].T @ dz
        sums[1] += step.h_in.T @ dz
        if bias_sum is not None:
            bias_sum += dz.sum(axis=0)
        dh_prev = dz @ saved.recurrent_kernel.T
        if saved.recurrent_mask is not None:
            dh_prev = dh_prev * saved.recurrent_mask
        dh, dc = valid(dh_prev, dh), valid(dc_prev, dc)
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
