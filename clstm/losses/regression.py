from __future__ import annotations

import numpy as np

from .._arrays import number
from .._serialize import register
from .base import Array, Loss


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
