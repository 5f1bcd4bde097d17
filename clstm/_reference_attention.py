"""Scaled dot-product attention in plain NumPy: what `_kernels._attention` computes.

Vaswani et al. 2017, eq. 1, of every head of every batch row:

    w = softmax(scale q k^T)        y = w v

The valid positions of a batch are packed: row b has the queries q_starts[b] .. q_starts[b + 1] - 1
and the keys k_starts[b] .. k_starts[b + 1] - 1; query i sees the first limits[i] of its row's keys,
its other weights are 0: all of them, and so is y, where it sees none. q (queries, N D), k (keys,
N D), v (keys, N V): N heads, one after the other. Weights, and `factors` of them (dropout), stand
flat: those of row b, (N, its queries, its keys), from N weight_starts[b].
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

Array = np.ndarray


def softmax(scores: Array, limits: Array) -> Array:
    """Of the last axis of scores (..., n, m), of its first limits (n,) values; 0 in the others."""
    seen = np.arange(scores.shape[-1]) < limits[:, None]
    some = limits[:, None] > 0
    scores = np.where(seen, scores, scores.dtype.type(-np.inf))
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(some, top, 0))
    return e / np.where(some, e.sum(axis=-1, keepdims=True), 1)


def softmax_backward(weights: Array, d: Array) -> Array:
    """The scores' gradient from that of the weights."""
    return weights * (d - (weights * d).sum(axis=-1, keepdims=True))


def parts(flat: Array, heads: int, q_starts: Array, k_starts: Array,
          weight_starts: Array) -> Iterator[Array]:  # fmt: skip
    """Views (N, queries, keys) of the weights of each batch row."""
    shapes = zip(np.diff(q_starts), np.diff(k_starts), strict=True)
    for start, (queries, keys) in zip(heads * weight_starts, shapes, strict=False):
        yield flat[start : start + heads * queries * keys].reshape(heads, queries, keys)


def _heads(a: Array, heads: int) -> Array:
    """(P, N D) as (N, P, D), a view."""
    return a.reshape(len(a), heads, a.shape[1] // heads).swapaxes(0, 1)


def _slices(starts: Array) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(starts)]


def _rows(layout: tuple[Array, Array, Array], heads: int, *flat: Array | None
          ) -> Iterator[tuple]:  # fmt: skip
    """Queries, keys, and what of each flat array belongs to them, of each batch row."""
    views = [parts(a, heads, *layout) if a is not None else [None] * (len(layout[0]) - 1)
             for a in flat]  # fmt: skip
    yield from zip(_slices(layout[0]), _slices(layout[1]), *views, strict=True)


def forward(
    q: Array, k: Array, v: Array, heads: int, scale: float, q_starts: Array, k_starts: Array,
    weight_starts: Array, limits: Array, factors: Array | None, weights: Array | None, y: Array,
) -> None:  # fmt: skip
    """y (queries, N V), and the weights, without the factors, where `weights` is not None."""
    layout = (q_starts, k_starts, weight_starts)
    for i, j, factor, kept in _rows(layout, heads, factors, weights):
        scores = _heads(q[i], heads) @ _heads(k[j], heads).swapaxes(1, 2)
        w = softmax(scores * q.dtype.type(scale), limits[i])
        if kept is not None:
            kept[...] = w
        drawn = (w if factor is None else w * factor) @ _heads(v[j], heads)
        y[i] = drawn.swapaxes(0, 1).reshape(-1, y.shape[1])


def backward(
    q: Array, k: Array, v: Array, heads: int, scale: float, q_starts: Array, k_starts: Array,
    weight_starts: Array, limits: Array, factors: Array | None, dy: Array,
    d_weights: Array | None, dq: Array, dk: Array, dv: Array,
) -> None:  # fmt: skip
    """dq, dk, dv from the gradients dy of y and d_weights of the weights."""
    layout = (q_starts, k_starts, weight_starts)
    for i, j, factor, d_kept in _rows(layout, heads, factors, d_weights):
        Q, K, V, D = (_heads(a, heads) for a in (q[i], k[j], v[j], dy[i]))
        w = softmax(Q @ K.swapaxes(1, 2) * q.dtype.type(scale), limits[i])
        d = D @ V.swapaxes(1, 2)
        if factor is not None:
            d = d * factor
        if d_kept is not None:
            d = d + d_kept
        ds = softmax_backward(w, d) * q.dtype.type(scale)
        if factor is not None:
            w = w * factor
        for out, rows, value in (
            (dq, i, ds @ K),
            (dk, j, ds.swapaxes(1, 2) @ Q),
            (dv, j, w.swapaxes(1, 2) @ D),
        ):
            out[rows] = value.swapaxes(0, 1).reshape(-1, out.shape[1])
