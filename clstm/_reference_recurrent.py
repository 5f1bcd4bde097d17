"""The simple RNN and the sLSTM in plain NumPy: their specification, the tests' oracle, and the
`numpy` backend.

Both have z = x_t W + h_{t-1} U + b. The recurrent kernel U is block diagonal: head k, of
D = H / heads units, sees the h of its own units alone. The columns of W and b are those of each
gate's H units, gate after gate; in each head of U those of each gate's D units.

RNN (Elman 1990):

    h_t = phi(z)

sLSTM (Beck et al. 2024, arXiv 2405.04517, equations 8 to 17), with the gates i f g o, g for its z:

    m_t = max(log f + m_{t-1}, z_i)            f = sigmoid(z_f) or e^{z_f}
    i'  = e^{z_i - m_t}                        f' = e^{log f + m_{t-1} - m_t}
    c_t = f' c_{t-1} + i' tanh(z_g)            n_t = f' n_{t-1} + i'
    h_t = sigmoid(z_o) c_t / n_t

c and n are the sums C = c e^m and N = n e^m in a unit e^m in which neither overflows: h does not
depend on m, only on C and N. Where n_{t-1} is 0 nothing has been summed, and m_{t-1} counts as
minus infinity: so a state of zeros is the start, c_1 = tanh(z_g) and n_1 = 1 whatever z_i is, and
n_t > 0 from then on. (With m_0 = 0 instead, n_1 = e^{z_i} / f could be rounded to 0.)

Gradients of c and n are those with m as it is, dL/dc = e^m dL/dC. m itself has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import activations

Array = np.ndarray

_sigmoid = activations.get("sigmoid").forward


class Cell(NamedTuple):
    name: str  # "rnn", "slstm"
    activation: Any = None  # phi of the RNN, an Activation
    exponential: bool = False  # f of the sLSTM


class Run(NamedTuple):
    """What a run is of, as `clstm._recurrent` checked it."""

    cell: Cell
    x: Array  # (B, T, I), or (T, B, I) if time_major
    kernel: Array  # (I, G H), G gates
    recurrent_kernel: Array  # (heads, D, G D)
    bias: Array | None  # (G H,)
    recurrent_mask: Array | None  # (B, H): factors of h_{t-1} inside the products
    mask: Array | None  # (B, T): at False positions nothing happens, y is 0 there
    resets: Array | None  # (B, T): at True ones, valid or not, the state becomes 0 before the step
    reverse: bool  # from the last position to the first
    time_major: bool


class Step(NamedTuple):
    """What backward needs of one step."""

    h_in: Array  # h_{t-1} as it enters the product
    values: tuple[Array, ...]


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    run: Run
    x: Array  # (B, T, I), 0 at invalid positions
    steps: list[Step]


def supports(cell: Cell) -> bool:
    """Everything."""
    return True


def _rnn_step(cell: Cell, z: Array, state: tuple[Array, ...]) -> Any:
    h = cell.activation.forward(z)
    return (h,), (z, h)


def _rnn_back(cell: Cell, values: tuple[Array, ...], d: tuple[Array, ...]) -> Any:
    z, h = values
    return cell.activation.backward(d[0], z, h), ()


def _slstm_step(cell: Cell, z: Array, state: tuple[Array, ...]) -> Any:
    zi, zf, zg, zo = np.split(z, 4, axis=1)
    _, c_prev, n_prev, m_prev = state
    if cell.exponential:
        log_f, slope = zf, np.ones_like(zf)
    else:
        log_f, slope = np.minimum(zf, 0) - np.log1p(np.exp(-np.abs(zf))), _sigmoid(-zf)
    before = log_f + np.where(n_prev == 0, -np.inf, m_prev)
    m = np.maximum(before, zi)
    i, f = np.exp(zi - m), np.exp(before - m)
    g, o = np.tanh(zg), _sigmoid(zo)
    c, n = f * c_prev + i * g, f * n_prev + i
    return (o * (c / n), c, n, m), (i, f, g, o, slope, c_prev, n_prev, c, n)


def _slstm_back(cell: Cell, values: tuple[Array, ...], d: tuple[Array, ...]) -> Any:
    """
    r = c / n      dzo = dh r o (1 - o)        dc += dh o / n      dn -= dh o r / n
    dzi = (dc g + dn) i'      dzf = (dc c_{t-1} + dn n_{t-1}) f' dlog f/dz_f
    dzg = dc i' (1 - g^2)     dc_{t-1} = dc f'     dn_{t-1} = dn f'
    """
    i, f, g, o, slope, c_prev, n_prev, c, n = values
    dh, dc, dn = d
    r = c / n
    dr = dh * o / n
    dc, dn = dc + dr, dn - dr * r
    dz = ((dc * g + dn) * i, (dc * c_prev + dn * n_prev) * f * slope, dc * i * (1 - g * g),
          dh * r * o * (1 - o))  # fmt: skip
    return np.concatenate(dz, axis=1), (dc * f, dn * f)


_STEPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "rnn": (_rnn_step, _rnn_back),
    "slstm": (_slstm_step, _slstm_back),
}


def forward(run: Run, state: tuple[Array, ...], keep: bool
            ) -> tuple[Array, tuple[Array, ...], Saved | None]:  # fmt: skip
    """y, shaped as x with H features, the final state, and what `backward` needs if `keep`.

    state: (h,), or (h, c, n, m), each (B, H).
    """
    x = np.swapaxes(run.x, 0, 1) if run.time_major else run.x
    if run.mask is not None:
        x = np.where(run.mask[:, :, None], x, 0)  # what stands in the padding may be NaN
    step, (B, T) = _STEPS[run.cell.name][0], x.shape[:2]
    y = np.zeros((B, T, state[0].shape[1]), x.dtype)
    steps = []
    for t in times(run, T):
        if run.resets is not None:
            state = tuple(np.where(run.resets[:, t, None], 0, a) for a in state)
        h_in = state[0] if run.recurrent_mask is None else state[0] * run.recurrent_mask
        z = x[:, t] @ run.kernel + _recurrent_product(h_in, run.recurrent_kernel)
        if run.bias is not None:
            z = z + run.bias
        new, values = step(run.cell, z, state)
        if keep:
            steps.append(Step(h_in, values))
        if run.mask is None:
            state, y[:, t] = new, new[0]
        else:
            valid = run.mask[:, t, None]
            y[:, t] = np.where(valid, new[0], 0)
            state = tuple(np.where(valid, a, b) for a, b in zip(new, state, strict=True))
    saved = Saved(run, x, steps) if keep else None
    return (np.swapaxes(y, 0, 1) if run.time_major else y), state, saved


def backward(
    saved: Saved, dy: Array | None, d_state: tuple[Array, ...], need_dx: bool,
    record: Callable[[int, Array], None] | None = None,
) -> tuple[Array | None, list[Array], tuple[Array, ...]]:  # fmt: skip
    """Gradients from dy, shaped as y, or None, and those of the final h, or h, c and n.

    record: is called with each t and dL/dh_t, by all ways to the loss.

    Returns dx, the gradients of the kernel, the recurrent kernel and the bias (if there is one),
    and those of the initial h, or h, c and n.
    """
    run, x = saved.run, saved.x
    back, heads = _STEPS[run.cell.name][1], len(run.recurrent_kernel)
    if dy is not None and run.time_major:
        dy = np.swapaxes(dy, 0, 1)
    dx = np.zeros_like(x) if need_dx else None
    d_weights = [np.zeros_like(w) for w in (run.kernel, run.recurrent_kernel, run.bias)
                 if w is not None]  # fmt: skip
    for t, (h_in, values) in zip(times(run, x.shape[1])[::-1], saved.steps[::-1], strict=True):
        dh = d_state[0] if dy is None else d_state[0] + dy[:, t]
        if record is not None:
            record(t, dh)
        dz, rest = back(run.cell, values, (dh, *d_state[1:]))
        if run.mask is not None:
            dz = np.where(run.mask[:, t, None], dz, 0)
        if dx is not None:
            dx[:, t] = dz @ run.kernel.T
        d_weights[0] += x[:, t].T @ dz
        by_head = _by_head(dz, heads, dz.shape[1] // h_in.shape[1])
        d_weights[1] += np.swapaxes(_by_head(h_in, heads, 1), 1, 2) @ by_head
        if run.bias is not None:
            d_weights[2] += dz.sum(axis=0)
        dh = _by_row(by_head @ np.swapaxes(run.recurrent_kernel, 1, 2), 1)
        if run.recurrent_mask is not None:
            dh = dh * run.recurrent_mask
        new = (dh, *rest)
        if run.mask is not None:
            valid = run.mask[:, t, None]
            new = tuple(np.where(valid, a, b) for a, b in zip(new, d_state, strict=True))
        if run.resets is not None:
            new = tuple(np.where(run.resets[:, t, None], 0, a) for a in new)
        d_state = new
    if dx is not None and run.time_major:
        dx = np.swapaxes(dx, 0, 1)
    return dx, d_weights, d_state


def times(run: Run, time: int) -> range:
    """The positions in the order of the steps."""
    return range(time - 1, -1, -1) if run.reverse else range(time)


def _by_head(rows: Array, heads: int, gates: int) -> Array:
    """(B, G H) to (heads, B, G D)"""
    batch, columns = rows.shape
    parts = rows.reshape(batch, gates, heads, columns // (gates * heads))
    return parts.transpose(2, 0, 1, 3).reshape(heads, batch, columns // heads)


def _by_row(parts: Array, gates: int) -> Array:
    """(heads, B, G D) to (B, G H)"""
    heads, batch, columns = parts.shape
    parts = parts.reshape(heads, batch, gates, columns // gates)
    return parts.transpose(1, 2, 0, 3).reshape(batch, heads * columns)


def _recurrent_product(h: Array, kernel: Array) -> Array:
    """h U, (B, G H)"""
    heads, units, columns = kernel.shape
    return _by_row(_by_head(h, heads, 1) @ kernel, columns // units)
