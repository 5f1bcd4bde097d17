"""minLSTM in plain NumPy: the specification, and what runs float64.

Equations (Feng et al. 2024, arXiv 2410.01201, section 3.2, before its form in logarithms), all
products with x_t and none with h:

    f = sigmoid(x_t Wf + bf)    i = sigmoid(x_t Wi + bi)    g = x_t Wg + bg
    F = f / (f + i)             A = i / (f + i)
    h_t = F h_{t-1} + A g

F and A are computed from powers of e whose exponents are at most 0, one of which is 0: they are no
NaN wherever both sigmoids would underflow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Saved(NamedTuple):
    """What backward needs of one forward run; batch first."""

    x: Array  # (B, T, I), 0 at invalid positions
    kernel: Array
    bias: Array | None
    mask: Array | None  # (B, T)
    resets: Array | None  # (B, T)
    times: range  # the positions in the order of the steps
    z: Array  # (B, T, 3H)
    before: Array  # (B, T, H): h_{t-1}
    time_major: bool  # of the caller's x and y


def gates(z: Array) -> tuple[Array, Array]:
    """F and A of z (..., 3H)."""
    zi, zf, _ = np.split(z, 3, axis=-1)
    most = np.finfo(z.dtype).max  # in place of infinity, which less itself would be NaN
    a, b = np.minimum(-zi, most), np.minimum(-zf, most)
    m = np.maximum(np.maximum(a, b), 0)
    with np.errstate(over="ignore"):  # a - m may be -infinity
        p, q = (np.exp(-m) + np.exp(v - m) for v in (a, b))
    return p / (p + q), q / (p + q)


def minlstm_forward(
    x: Array, kernel: Array, bias: Array | None, h: Array, *, mask: Array | None = None,
    resets: Array | None = None, reverse: bool = False, time_major: bool = False,
    keep: bool = True,
) -> tuple[Array, Array, Saved | None]:  # fmt: skip
    """Run minLSTM over x (B, T, I), or (T, B, I) if time_major, from h (B, H).

    mask (B, T): at False positions nothing happens, y is 0 there; resets (B, T): at True ones,
    valid or not, h becomes 0 before the step; reverse: from the last position to the first.
    Returns y, shaped as x with H features, the final h, and what `minlstm_backward` needs if
    `keep`.
    """
    if time_major:
        x = np.swapaxes(x, 0, 1)
    if mask is not None:
        x = np.where(mask[:, :, None], x, 0)  # what stands in the padding may be NaN
    time, units = x.shape[1], h.shape[1]
    z = x @ kernel
    if bias is not None:
        z += bias
    F, A = gates(z)
    new = A * z[..., 2 * units :]
    y, before = np.zeros_like(F), np.zeros_like(F)
    times = range(time - 1, -1, -1) if reverse else range(time)
    for t in times:
        if resets is not None:
            h = np.where(resets[:, t, None], 0, h)
        before[:, t] = h
        y[:, t] = F[:, t] * h + new[:, t]
        if mask is None:
            h = y[:, t].copy()
        else:
            h = np.where(mask[:, t, None], y[:, t], h)
            y[~mask[:, t], t] = 0
    saved = Saved(x, kernel, bias, mask, resets, times, z, before, time_major) if keep else None
    return (np.swapaxes(y, 0, 1) if time_major else y), h, saved


def minlstm_backward(
    saved: Saved, dy: Array | None, dh: Array, need_dx: bool = True
) -> tuple[Array | None, Array, Array | None, Array]:
    """dx, d_kernel, d_bias and dh0 from dy, shaped as y, or None, and dh (B, H) of the final h."""
    z, mask, units = saved.z, saved.mask, dh.shape[1]
    if dy is not None and saved.time_major:
        dy = np.swapaxes(dy, 0, 1)
    F, A = gates(z)
    d = np.zeros_like(F)  # of h_t at valid positions
    for t in reversed(saved.times):
        d[:, t] = dh if dy is None else dh + dy[:, t]
        dh_prev = d[:, t] * F[:, t]
        if mask is not None:
            d[~mask[:, t], t] = 0
            dh_prev = np.where(mask[:, t, None], dh_prev, dh)
        if saved.resets is not None:
            dh_prev = np.where(saved.resets[:, t, None], 0, dh_prev)
        dh = dh_prev
    e = d * (saved.before - z[..., 2 * units :]) * F * A
    with np.errstate(over="ignore"):  # 1 - sigmoid(z) = 1 / (1 + e^z), 0 beyond
        di, df = (1 / (1 + np.exp(v)) for v in (z[..., :units], z[..., units : 2 * units]))
    dz = np.concatenate([-e * di, e * df, d * A], axis=-1)
    rows, x = dz.reshape(-1, 3 * units), saved.x.reshape(-1, saved.x.shape[2])
    d_bias = None if saved.bias is None else rows.sum(axis=0)
    dx = None
    if need_dx:
        dx = dz @ saved.kernel.T
        if saved.time_major:
            dx = np.swapaxes(dx, 0, 1)
    return dx, x.T @ rows, d_bias, dh
