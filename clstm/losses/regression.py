from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import number
from .._serialize import register
from .base import EPSILON, Array, Loss, vectors


@register("loss", "mse", "MSE")
class MeanSquaredError(Loss):
    """(p - t)^2, gradient 2 (p - t)."""

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        d = p - t
        values = d * d
        d += d
        return values, d


@register("loss", "mae", "MAE")
class MeanAbsoluteError(Loss):
    """|p - t|, gradient sign(p - t), 0 at 0."""

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        d = p - t
        return np.abs(d), np.sign(d, out=d)


@register("loss")
class Huber(Loss):
    """With e = p - t and a = min(|e|, delta): a (|e| - a / 2), gradient a sign(e).

    That is e^2 / 2 up to delta and delta (|e| - delta / 2) beyond: Huber 1964.

    Args:
        delta: float > 0. Default 1.

    Raises:
        ValueError: delta <= 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = number("delta", delta, above=0)

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        d = p - t
        values = np.abs(d)
        a = np.minimum(values, self.delta)
        np.copysign(a, d, out=d)
        values -= 0.5 * a
        values *= a
        return values, d


@register("loss")
class LogCosh(Loss):
    """log cosh e of e = p - t, as |e| + log(1 + exp(-2 |e|)) - log 2, gradient tanh(e)."""

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        d = p - t
        a = np.abs(d)
        return a + np.log1p(np.exp(-2 * a)) - math.log(2), np.tanh(d, out=d)


@register("loss")
class CosineSimilarity(Loss):
    """-u.v of u = t / |t| and v = p / |p| over the last axis; in [-1, 1], -1 where they agree.

    Gradient ((u.v) v - u) / |p|. Lengths below 1e-7 count as 1e-7, and then the gradient is
    -u / 1e-7.
    """

    of_vectors = True

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        return super()._targets(y_true, vectors(p))

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        length = np.sqrt(np.add.reduce(p * p, axis=-1, keepdims=True))
        counted = np.maximum(length, EPSILON)
        u = t / np.maximum(np.sqrt(np.add.reduce(t * t, axis=-1, keepdims=True)), EPSILON)
        v = p / counted
        cosine = np.add.reduce(u * v, axis=-1, keepdims=True)
        return -cosine[..., 0], (cosine * v * (length >= EPSILON) - u) / counted
