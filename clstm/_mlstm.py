"""The mLSTM in chunkwise parallel form: a loop over chunks of steps, matrix products inside.

The equations, and the meaning of all arguments, are those of `clstm._reference_mlstm`, to which
this is equal within rounding for any size of the chunks. In a chunk of L steps that begins with the
state C, n, m, let b_j be the sum of log f up to its step j, and

    e_j = max(m, max over s <= j of i~_s - b_s)        m_j = b_j + e_j
    S_js = (q_j . k_s) exp(i~_s - b_s - e_j)  for s <= j, else 0
    w_j = exp(m - e_j)                                 g_s = exp(i~_s - b_s - e_L)
    h_j = (sum over s of S_js v_s + w_j C q_j) / max(|sum over s of S_js + w_j n . q_j|, exp(-m_j))
    C' = w_L C + sum over s of g_s v_s k_s^T           n' = w_L n + sum over s of g_s k_s

No exponent is above 0. Exponents are sums and differences in float64, whatever the dtype. Sums over
a chunk's steps are matrix products, so that on the native backend, whose products add one after the
other, steps of padding change no bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import _native_backend
from ._kernels._gemm import batched
from .functional import backend_module

Array = np.ndarray
State = tuple[Array, Array, Array]


class Saved(NamedTuple):
    """What backward needs of one forward run."""

    inputs: tuple[Array, Array, Array, Array, Array]  # q, k, v, i~, log f
    chunk: int
    states: list[State]  # before each chunk, and the last one; m in float64
    h: Array
    denominator: Array  # (B, N, T), before its bound
    r: Array  # (B, N, T): the denominator's magnitude, or its bound


class Powers(NamedTuple):
    """What the gates of a chunk give."""

    D: Array  # (B, N, L, L): the factors of q_j . k_s in S
    w: Array  # (B, N, L)
    g: Array  # (B, N, L)
    least: Array  # (B, N, L): exp(-m_j)
    m: Array  # (B, N), float64: m_L


def _powers(i: Array, log_f: Array, m: Array) -> Powers:
    b = np.cumsum(log_f, axis=-1, dtype=np.float64)
    a = i - b
    e = np.maximum(np.maximum.accumulate(a, axis=-1), m[..., None])
    earlier = np.tri(i.shape[-1], dtype=bool)

    def exp(x: Array) -> Array:
        return np.exp(x.astype(i.dtype))

    with np.errstate(over="ignore"):  # exp(-m): a denominator of infinity
        least = np.maximum(exp(-b - e), np.finfo(i.dtype).tiny)
    D = exp(np.where(earlier, a[..., None, :] - e[..., None], -np.inf))
    w, g = exp(m[..., None] - e), exp(a - e[..., -1:])
    return Powers(D, w, g, least, b[..., -1] + e[..., -1])


def _turned(a: Array) -> Array:
    return np.swapaxes(a, -2, -1)


def _product(a: Array, b: Array) -> Array:
    """(B, N, M, K) (B, N, K, M')"""
    if backend_module(None, a.dtype) is not _native_backend:
        return a @ b
    out = np.empty((*a.shape[:3], b.shape[3]), a.dtype)
    batched(a, b, out)
    return out


def _times(a: Array, vectors: Array) -> Array:
    """a (B, N, L, D) times a vector (B, N, D): (B, N, L)."""
    return _product(a, vectors[..., None])[..., 0]


def _summed(weights: Array, a: Array) -> Array:
    """The sum over a chunk's steps of a (B, N, L, D) with weights (B, N, L): (B, N, D)."""
    return _product(weights[..., None, :], a)[..., 0, :]


def _row_sums(a: Array) -> Array:
    """(B, N, L, L) to (B, N, L)"""
    return _times(a, np.ones((*a.shape[:2], a.shape[3]), a.dtype))


def mlstm_forward(
    q: Array, k: Array, v: Array, i: Array, log_f: Array, state: State, chunk: int
) -> tuple[Array, State, Saved]:
    """As `_reference_mlstm.mlstm_forward`, `chunk` steps at a time."""
    C, n, m = state
    m = m.astype(np.float64)
    states = [(C, n, m)]
    h = np.empty(v.shape, v.dtype)
    denominator, r = np.empty(i.shape, v.dtype), np.empty(i.shape, v.dtype)
    for begin in range(0, q.shape[2], chunk):
        at = slice(begin, begin + chunk)
        Q, K, V = q[:, :, at], k[:, :, at], v[:, :, at]
        D, w, g, least, m = _powers(i[..., at], log_f[..., at], m)
        S = _product(Q, _turned(K)) * D
        denominator[..., at] = _row_sums(S) + w * _times(Q, n)
        r[..., at] = np.maximum(np.abs(denominator[..., at]), least)
        from_C = w[..., None] * _product(Q, _turned(C))
        h[:, :, at] = (_product(S, V) + from_C) / r[..., at, None]
        C = w[..., -1:, None] * C + _product(_turned(g[..., None] * V), K)
        n = w[..., -1:] * n + _summed(g, K)
        states.append((C, n, m))
    saved = Saved((q, k, v, i, log_f), chunk, states, h, denominator, r)
    return h, (C, n, m.astype(v.dtype)), saved


def mlstm_backward(saved: Saved, dh: Array, d_state: State) -> tuple[Array, ...]:
    """Gradients of q, k, v, i, log_f, C, n and m, from dh and those of the final state."""
    q, k, v, i, log_f = saved.inputs
    dq, dk, dv = (np.empty(v.shape, v.dtype) for _ in range(3))
    di, d_log_f = np.empty(i.shape, v.dtype), np.empty(i.shape, v.dtype)
    dC, dn, dm = d_state
    dm = dm - _along(dC, dn, *saved.states[-1][:2])
    starts = range(0, q.shape[2], saved.chunk)
    for begin, (C, n, m) in zip(reversed(starts), saved.states[-2::-1], strict=True):
        at = slice(begin, begin + saved.chunk)
        Q, K, V, d, r = q[:, :, at], k[:, :, at], v[:, :, at], dh[:, :, at], saved.r[..., at]
        D, w, g, _, _ = _powers(i[..., at], log_f[..., at], m)
        S, Cq = _product(Q, _turned(K)) * D, _product(Q, _turned(C))
        total = saved.denominator[..., at]
        d_num = d / r[..., None]
        d_den = -(d * saved.h[:, :, at]).sum(axis=-1) / r * np.sign(total)
        d_den[np.abs(total) < r] = 0
        dS = _product(d_num, _turned(V)) + d_den[..., None]
        dP, E = dS * D, dS * S  # of q . k and of the exponents of D
        of_k = _product(V, dC) + dn[..., None, :]
        from_C = _product(d_num, C) + d_den[..., None] * n[..., None, :]
        dq[:, :, at] = _product(dP, K) + w[..., None] * from_C
        dk[:, :, at] = _product(_turned(dP), Q) + g[..., None] * of_k
        dv[:, :, at] = _product(_turned(S), d_num) + g[..., None] * _product(K, _turned(dC))
        # of the exponents of w, but for what C' and n' have of w_L, and of g
        of_w = w * ((d_num * Cq).sum(axis=-1) + d_den * _times(Q, n))
        of_g = g * (of_k * K).sum(axis=-1)
        of_i = _row_sums(_turned(E)) + of_g
        di[..., at] = of_i
        db = _row_sums(E) + of_w - of_i
        db[..., -1] += np.cumsum(of_g, axis=-1)[..., -1] + w[..., -1] * _along(dC, dn, C, n)
        d_log_f[..., at] = np.cumsum(db[..., ::-1], axis=-1)[..., ::-1]
        dC = w[..., -1:, None] * dC + _product(_turned(d_num), w[..., None] * Q)
        dn = w[..., -1:] * dn + _summed(w * d_den, Q)
    C, n, m = saved.states[0]
    if q.shape[2]:
        dm = _through_m(i, log_f, m, dm, di, d_log_f)
    return dq, dk, dv, di, d_log_f, dC, dn, (dm + _along(dC, dn, C, n)).astype(v.dtype)


def _along(dC: Array, dn: Array, C: Array, n: Array) -> Array:
    """(B, N): d / d log(factor), if a factor stood before C and n."""
    return (dC * C).sum(axis=(-2, -1)) + (dn * n).sum(axis=-1)


def _through_m(i: Array, log_f: Array, m: Array, dm: Array, di: Array, d_log_f: Array) -> Array:
    """Add dm, of the final m, to di and d_log_f of what it is the maximum of; that of the first m.

    m_T is m + b_T, or i~_s + b_T - b_s for one s.
    """
    a = i - np.cumsum(log_f, axis=-1, dtype=np.float64)
    best = a.argmax(axis=-1)[..., None]
    first = m[..., None] > np.take_along_axis(a, best, axis=-1)  # (B, N, 1)
    steps = np.arange(i.shape[-1])
    di += np.where((steps == best) & ~first, dm[..., None], 0)
    d_log_f += np.where((steps > best) | first, dm[..., None], 0)
    return np.where(first[..., 0], dm, 0)
