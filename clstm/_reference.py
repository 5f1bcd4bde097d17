"""The LSTM in plain NumPy: the specification, the tests' oracle, the benchmark's baseline.

It is also the `numpy` backend, and the one that knows every activation function. The equations are
those of Hochreiter & Schmidhuber 1997 with the forget gate of Gers, Schmidhuber & Cummins 2000:

    i = sigmoid(x_t Wi + h_{t-1} Ui + bi)       f = sigmoid(x_t Wf + h_{t-1} Uf + bf)
    g = tanh   (x_t Wg + h_{t-1} Ug + bg)       o = sigmoid(x_t Wo + h_{t-1} Uo + bo)
    c_t = f c_{t-1} + i g                       h_t = o tanh(c_t)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import activations

Array = np.ndarray


class Saved(NamedTuple):
    """What backward needs of one forward run: a list holds one entry for each step taken."""

    x: Array  # (B, T, I), 0 at invalid positions
    kernel: Array
    recurrent_kernel: Array
    mask: Array | None  # (B, T)
    recurrent_mask: Array | None  # (B, H)
    activation: activations.Activation
    recurrent_activation: activations.Activation
    times: range  # the positions in the order of the steps
    steps: list[tuple[Array, ...]]  # h_{t-1} as it enters the product, c_{t-1}, z, gates, c_t
    time_major: bool  # of the caller's x and y


def lstm_forward(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None,
    h: Array,
    c: Array,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    recurrent_mask: Array | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    time_major: bool = False,
    keep: bool = True,
) -> tuple[Array, Array, Array, Saved | None]:
    """Run the LSTM over x (B, T, I), or (T, B, I) if time_major, from h, c (B, H).

    mask (B, T): at False positions nothing happens, y is 0 there; reverse: from the last position
    to the first; recurrent_mask (B, H): factors of h_{t-1} inside the products (recurrent dropout).
    Returns y (B, T, H), or (T, B, H), the final h and c, and what `lstm_backward` needs if `keep`.
    """
    if time_major:
        x = np.swapaxes(x, 0, 1)
    act, gate_act = activations.get(activation), activations.get(recurrent_activation)
    if mask is not None:
        x = np.where(mask[:, :, None], x, 0)  # what stands in the padding may be NaN
    B, T = x.shape[:2]
    y = np.zeros((B, T, h.shape[1]), x.dtype)
    times = range(T - 1, -1, -1) if reverse else range(T)
    steps = []
    for t in times:
        h_in = h if recurrent_mask is None else h * recurrent_mask
        z = x[:, t] @ kernel + h_in @ recurrent_kernel
        if bias is not None:
            z = z + bias
        zi, zf, zg, zo = np.split(z, 4, axis=1)
        i, f, g, o = (gate_act.forward(zi), gate_act.forward(zf), act.forward(zg),
                      gate_act.forward(zo))  # fmt: skip
        c_new = f * c + i * g
        h_new = o * act.forward(c_new)
        if keep:
            steps.append((h_in, c, z, (i, f, g, o), c_new))
        if mask is None:
            h, c, y[:, t] = h_new, c_new, h_new
        else:
            valid = mask[:, t, None]
            y[:, t] = np.where(valid, h_new, 0)
            h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
    saved = Saved(x, kernel, recurrent_kernel, mask, recurrent_mask, act, gate_act, times, steps,
                  time_major) if keep else None  # fmt: skip
    return (np.swapaxes(y, 0, 1) if time_major else y), h, c, saved


def lstm_backward(
    saved: Saved, dy: Array | None, dh: Array, dc: Array, d_kernel: Array, d_recurrent: Array,
    d_bias: Array | None, need_dx: bool = True,
) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """Gradients from dy, shaped as y, or None, and dh, dc (B, H) of the final state.

    The weights' gradients are added to d_kernel, d_recurrent and d_bias. Returns dx, dh0, dc0.
    """
    x, kernel, recurrent_kernel = saved.x, saved.kernel, saved.recurrent_kernel
    act, gate_act = saved.activation, saved.recurrent_activation
    if dy is not None and saved.time_major:
        dy = np.swapaxes(dy, 0, 1)
    dx = np.zeros_like(x) if need_dx else None
    sums = [np.zeros_like(d) for d in (d_kernel, d_recurrent)]
    bias_sum = None if d_bias is None else np.zeros_like(d_bias)
    for t, step in zip(reversed(saved.times), reversed(saved.steps), strict=True):
        h_in, c_prev, z, (i, f, g, o), c = step
        zi, zf, zg, zo = np.split(z, 4, axis=1)
        valid = None if saved.mask is None else saved.mask[:, t, None]
        dh_new = dh if dy is None else dh + dy[:, t]
        a = act.forward(c)
        dc_new = dc + act.backward(dh_new * o, c, a)
        dz = np.concatenate(
            [
                gate_act.backward(dc_new * g, zi, i),
                gate_act.backward(dc_new * c_prev, zf, f),
                act.backward(dc_new * i, zg, g),
                gate_act.backward(dh_new * a, zo, o),
            ],
            axis=1,
        )
        if valid is not None:
            dz = np.where(valid, dz, 0)
        if dx is not None:
            dx[:, t] = dz @ kernel.T
        sums[0] += x[:, t].T @ dz
        sums[1] += h_in.T @ dz
        if bias_sum is not None:
            bias_sum += dz.sum(axis=0)
        dh_prev = dz @ recurrent_kernel.T
        if saved.recurrent_mask is not None:
            dh_prev = dh_prev * saved.recurrent_mask
        dc_prev = dc_new * f
        dh = dh_prev if valid is None else np.where(valid, dh_prev, dh)
        dc = dc_prev if valid is None else np.where(valid, dc_prev, dc)
    if dx is not None and saved.time_major:
        dx = np.swapaxes(dx, 0, 1)
    d_kernel += sums[0]  # at the end: an error before changes nothing
    d_recurrent += sums[1]
    if d_bias is not None:
        d_bias += bias_sum
    return dx, dh, dc


def matmul(a: Array, b: Array, out: Array, transpose_a: bool = False, transpose_b: bool = False,
           accumulate: bool = False) -> None:  # fmt: skip
    """out = op(a) op(b), or out += with `accumulate`; op transposes where asked."""
    product = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    out[...] = out + product if accumulate else product
