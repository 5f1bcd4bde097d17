"""Attention over the valid positions of a batch: which query sees which keys, and who computes it.

Valid positions are packed, row by row, as `clstm._reference_attention` says; the padding is never
read. There N heads of D features are columns, one head after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import _native_backend, _reference_attention
from ._kernels import _attention
from .functional import backend_module

Array = np.ndarray


class Rows(NamedTuple):
    """The valid positions of (B, T, ...) as rows (P, ...)."""

    batch: int
    time: int
    index: Array | None  # (P,) where each stands in B T; None: all are valid
    starts: Array  # (B + 1,) the first of each batch row, and P

    @classmethod
    def of(cls, mask: Array | None, batch: int, time: int) -> Rows:
        """mask: (B, T) booleans or None."""
        if mask is None:
            return cls(batch, time, None, np.arange(batch + 1, dtype=np.intp) * time)
        starts = np.zeros(batch + 1, np.intp)
        np.cumsum(mask.sum(axis=1), out=starts[1:])
        return cls(batch, time, np.flatnonzero(mask), starts)

    @property
    def counts(self) -> Array:
        """(B,) valid positions of each batch row."""
        return np.diff(self.starts)

    def gather(self, x: Array) -> Array:
        """(B, T, F) to (P, F)."""
        rows = x.reshape(self.batch * self.time, *x.shape[2:])
        return rows if self.index is None else rows[self.index]

    def scatter(self, rows: Array) -> Array:
        """(P, F) to (B, T, F), 0 where no position is valid."""
        shape = (self.batch, self.time, *rows.shape[1:])
        if self.index is None:
            return rows.reshape(shape)
        out = np.zeros((self.batch * self.time, *rows.shape[1:]), rows.dtype)
        out[self.index] = rows
        return out.reshape(shape)

    def positions(self, b: int) -> Array | slice:
        """Which of the T positions of batch row b are valid."""
        if self.index is None:
            return slice(None)
        return self.index[self.starts[b] : self.starts[b + 1]] - b * self.time


class Places(NamedTuple):
    """Queries, keys, and how many of its batch row's keys each query sees."""

    queries: Rows
    keys: Rows
    limits: Array  # (queries,)
    weight_starts: Array  # (B + 1,) of queries times keys, one batch row after the other

    @classmethod
    def of(cls, queries: Rows, keys: Rows, causal: bool) -> Places:
        """causal: the query at position t sees the keys at positions up to t."""
        pairs = np.zeros(queries.batch + 1, np.intp)
        np.cumsum(queries.counts * keys.counts, out=pairs[1:])
        if not causal:
            return cls(queries, keys, np.repeat(keys.counts, queries.counts), pairs)
        valid = np.ones((keys.batch * keys.time,), np.intp)
        if keys.index is not None:
            valid[...] = 0
            valid[keys.index] = 1
        seen = np.zeros((keys.batch, keys.time + 1), np.intp)
        np.cumsum(valid.reshape(keys.batch, keys.time), axis=1, out=seen[:, 1:])
        limits = seen[:, np.minimum(np.arange(queries.time) + 1, keys.time)]
        return cls(queries, keys, np.ascontiguousarray(queries.gather(limits)), pairs)

    def dense(self, weights: Array, heads: int) -> Array:
        """Packed weights as (B, N, queries' T, keys' T), 0 where there is none."""
        shape = (self.queries.batch, heads, self.queries.time, self.keys.time)
        if self.queries.index is None and self.keys.index is None:
            return weights.reshape(shape)
        out = np.zeros(shape, weights.dtype)
        for b, part in enumerate(_reference_attention.parts(weights, heads, *self.layout)):
            rows, columns = self.queries.positions(b), self.keys.positions(b)
            out[b][:, np.arange(shape[2])[rows][:, None], np.arange(shape[3])[columns]] = part
        return out

    def packed(self, dense: Array) -> Array:
        """What `dense` undoes."""
        if self.queries.index is None and self.keys.index is None:
            return np.ascontiguousarray(dense).reshape(-1)
        parts = [dense[b][:, self.queries.positions(b)][:, :, self.keys.positions(b)].ravel()
                 for b in range(len(dense))]  # fmt: skip
        return np.concatenate([np.zeros(0, dense.dtype), *parts])

    @property
    def layout(self) -> tuple[Array, Array, Array]:
        """Where queries, keys and weights of the batch rows begin."""
        return self.queries.starts, self.keys.starts, self.weight_starts


def forward(
    q: Array, k: Array, v: Array, heads: int, scale: float, places: Places,
    factors: Array | None = None, keep_weights: bool = False,
) -> tuple[Array, Array | None]:  # fmt: skip
    """y and, packed, the weights if they are kept; the arguments are those of the reference."""
    y = np.empty((len(q), v.shape[1]), q.dtype)
    weights = np.zeros(heads * places.weight_starts[-1], q.dtype) if keep_weights else None
    _module(q).forward(q, k, v, heads, scale, *places.layout, places.limits, factors, weights, y)
    return y, weights


def memory(k: Array, v: Array, heads: int, scale: float, places: Places
           ) -> Callable[[Array], Array]:  # fmt: skip
    """The function q -> y of `forward`, for one query of each row, by the backend in use now."""
    if _module(k) is _attention:
        return _attention.Memory(k, v, heads, scale, *places.layout, places.limits).recall
    return lambda q: forward(q, k, v, heads, scale, places)[0]


def backward(
    q: Array, k: Array, v: Array, heads: int, scale: float, places: Places,
    factors: Array | None, dy: Array, d_weights: Array | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """dq, dk, dv from the gradients of what `forward` gave; the weights are computed again."""
    dq, dk, dv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
    _module(q).backward(q, k, v, heads, scale, *places.layout, places.limits, factors, dy,
                        d_weights, dq, dk, dv)  # fmt: skip
    return dq, dk, dv


def _module(q: Array):
    return _attention if backend_module(None, q.dtype) is _native_backend else _reference_attention
