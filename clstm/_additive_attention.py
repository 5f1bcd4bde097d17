"""Attention with additive scores (Bahdanau et al. 2015), row by row of the batch.

    w = softmax over j of s . tanh(q_i + k_j)        y = w v

Arguments as in `clstm._attention`, with one head: q (queries, U), k (keys, U), s (U,). The sums q_i
+ k_j of one batch row, (queries, keys, U), are there at one time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._attention import Array, Places
from ._kernels import _pointwise
from ._reference_attention import parts, softmax, softmax_backward


def _rows(places: Places, *flat: Array | None) -> Iterator[tuple]:
    views = [parts(a, 1, *places.layout) if a is not None else [None] * places.queries.batch
             for a in flat]  # fmt: skip
    for b, row in enumerate(zip(*views, strict=True)):
        ends = (slice(*starts[b : b + 2]) for starts in places.layout[:2])
        yield (*ends, *(None if a is None else a[0] for a in row))


def _tanh(q: Array, k: Array) -> Array:
    z = q[:, None] + k
    _pointwise.tanh(z.reshape(-1), z.reshape(-1))
    return z


def forward(
    q: Array, k: Array, v: Array, s: Array, places: Places, factors: Array | None,
    keep_weights: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """y (queries, V) and, packed, the weights if they are kept."""
    y = np.empty((len(q), v.shape[1]), q.dtype)
    weights = np.zeros(places.weight_starts[-1], q.dtype) if keep_weights else None
    for i, j, factor, kept in _rows(places, factors, weights):
        w = softmax(_tanh(q[i], k[j]) @ s, places.limits[i])
        if kept is not None:
            kept[...] = w
        y[i] = (w if factor is None else w * factor) @ v[j]
    return y, weights


def backward(
    q: Array, k: Array, v: Array, s: Array, places: Places, factors: Array | None, dy: Array,
    d_weights: Array | None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """dq, dk, dv, ds from the gradients of what `forward` gave."""
    dq, dk, dv, ds = np.empty_like(q), np.empty_like(k), np.empty_like(v), np.zeros_like(s)
    for i, j, factor, d_kept in _rows(places, factors, d_weights):
        t = _tanh(q[i], k[j])
        w = softmax(t @ s, places.limits[i])
        d = dy[i] @ v[j].T
        if factor is not None:
            d = d * factor
        if d_kept is not None:
            d = d + d_kept
        d = softmax_backward(w, d)
        dv[j] = (w if factor is None else w * factor).T @ dy[i]
        ds += np.tensordot(d, t, 2)
        dz = d[..., None] * s * (1 - t * t)
        dq[i], dk[j] = dz.sum(axis=1), dz.sum(axis=0)
    return dq, dk, dv, ds
