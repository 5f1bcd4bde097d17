"""The mLSTM as a loop over the steps, in plain NumPy: the specification of `clstm._mlstm`.

Equations (Beck et al. 2024, arXiv 2405.04517: the memory is (19), the normaliser (20), the output
(21), q, k, v (22)-(24), the gates (25)-(27), the stabiliser (15)-(17)), for each head with D
features, i~ and f~ what enters the exponential input gate and the sigmoid forget gate, and
log f = log sigmoid(f~):

    m_t = max(log f + m_{t-1}, i~)
    f' = exp(log f + m_{t-1} - m_t)            i' = exp(i~ - m_t)
    C_t = f' C_{t-1} + i' v_t k_t^T            n_t = f' n_{t-1} + i' k_t
    h_t = C_t q_t / max(|n_t . q_t|, exp(-m_t))

q = W_q x + b_q, k = W_k x / sqrt(D) + b_k, v = W_v x + b_v and the output gate, o h, are the
layer's. C exp(m) and n exp(m) are the paper's C and n, so its 1 in the denominator is exp(-m) here,
and h does not depend on m: gradients take m_t for a constant, and only those of the final state go
through it. The denominator is at least the smallest normal number: where exp(-m_t) underflows, a
query that meets nothing gives 0.

A position with i~ = -inf and log f = 0 leaves the state as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
State = tuple[Array, Array, Array]


def _inner(a: Array, b: Array) -> Array:
    return (a * b).sum(axis=-1)


def _column(a: Array) -> Array:
    return a[..., None]


def mlstm_forward(
    q: Array, k: Array, v: Array, i: Array, log_f: Array, state: State
) -> tuple[Array, State, Any]:
    """h (B, N, T, D), (C, n, m) after the last step, and what `mlstm_backward` needs.

    q, k, v (B, N, T, D) of N heads; i (B, N, T): i~, log_f (B, N, T); state: C (B, N, D, D), rows
    are v's features; n (B, N, D); m (B, N), finite.
    """
    C, n, m = state
    h, steps = np.empty_like(v), []
    for t in range(q.shape[2]):
        m_new = np.maximum(log_f[..., t] + m, i[..., t])
        f, g = np.exp(log_f[..., t] + m - m_new), np.exp(i[..., t] - m_new)
        k_t, v_t, q_t = k[:, :, t], v[:, :, t], q[:, :, t]
        C_new = _column(_column(f)) * C + _column(_column(g) * v_t) * k_t[..., None, :]
        n_new = _column(f) * n + _column(g) * k_t
        with np.errstate(over="ignore"):  # a denominator of infinity
            least = np.maximum(np.exp(-m_new), np.finfo(q.dtype).tiny)
        h[:, :, t] = (C_new @ _column(q_t))[..., 0]
        h[:, :, t] /= _column(np.maximum(np.abs(_inner(n_new, q_t)), least))
        steps.append((C, n, log_f[..., t] + m > i[..., t], f, g, C_new, n_new, least))
        C, n, m = C_new, n_new, m_new
    return h, (C, n, m), (q, k, v, h, steps, (C, n))


def mlstm_backward(saved: Any, dh: Array, d_state: State) -> tuple[Array, ...]:
    """Gradients of q, k, v, i, log_f, C, n and m, from dh and those of the final state."""
    q, k, v, h, steps, (C, n) = saved
    dq, dk, dv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    di, d_log_f = np.empty(q.shape[:3], q.dtype), np.empty(q.shape[:3], q.dtype)
    dC, dn, dm = d_state
    dm = dm - (dC * C).sum(axis=(-2, -1)) - _inner(dn, n)
    for t in range(q.shape[2] - 1, -1, -1):
        C_prev, n_prev, carried, f, g, C, n, least = steps[t]
        k_t, v_t, q_t, d = k[:, :, t], v[:, :, t], q[:, :, t], dh[:, :, t]
        r = np.maximum(np.abs(_inner(n, q_t)), least)
        d_num = d / _column(r)
        d_den = np.where(r > least, -_inner(d, h[:, :, t]) / r * np.sign(_inner(n, q_t)), 0)
        dq[:, :, t] = (np.swapaxes(C, -2, -1) @ _column(d_num))[..., 0] + _column(d_den) * n
        dC = dC + _column(d_num) * q_t[..., None, :]
        dn = dn + _column(d_den) * q_t
        of_v = (dC @ _column(k_t))[..., 0]
        dv[:, :, t] = _column(g) * of_v
        dk[:, :, t] = _column(g) * ((np.swapaxes(dC, -2, -1) @ _column(v_t))[..., 0] + dn)
        di[..., t] = g * (_inner(of_v, v_t) + _inner(dn, k_t)) + np.where(carried, 0, dm)
        dm = np.where(carried, dm, 0)
        d_log_f[..., t] = f * ((dC * C_prev).sum(axis=(-2, -1)) + _inner(dn, n_prev)) + dm
        dC, dn = _column(_column(f)) * dC, _column(f) * dn
        C, n = C_prev, n_prev
    dm = dm + (dC * C).sum(axis=(-2, -1)) + _inner(dn, n)
    return dq, dk, dv, di, d_log_f, dC, dn, dm
