from __future__ import annotations

import numpy as np

from .._arrays import number
from .._serialize import register
from ..losses.base import align
from .base import Array, MeanOfValues


@register("metric")
class BinaryAccuracy(MeanOfValues):
    """Share of elements with (y_pred > threshold) == y_true.

    Args:
        name: as in `Metric`.
        threshold: float. Default 0.5.
    """

    better = "max"

    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = number("threshold", threshold)

    def _values(self, t: Array, p: Array) -> Array:
        return (p > self.threshold) == align("y_true", t, p.shape)


@register("metric")
class CategoricalAccuracy(MeanOfValues):
    """Share of elements whose largest y_pred is where the largest y_true is."""

    better = "max"

    def _values(self, t: Array, p: Array) -> Array:
        if t.shape != p.shape:
            raise ValueError(f"y_true must have the shape {p.shape} of y_pred, received {t.shape}")
        return t.argmax(axis=-1) == p.argmax(axis=-1)


@register("metric")
class SparseCategoricalAccuracy(MeanOfValues):
    """Share of elements whose largest y_pred is at the class number y_true.

    y_true is (B,) or (B, T), or has a last dimension of 1 more.
    """

    better = "max"

    def _values(self, t: Array, p: Array) -> Array:
        return p.argmax(axis=-1) == align("y_true", t, p.shape[:-1])


@register("metric", "mse", "MSE")
class MeanSquaredError(MeanOfValues):
    """Mean of (y_pred - y_true)^2."""

    better = "min"

    def _values(self, t: Array, p: Array) -> Array:
        error = p - align("y_true", t, p.shape)
        return error * error


@register("metric", "mae", "MAE")
class MeanAbsoluteError(MeanOfValues):
    """Mean of |y_pred - y_true|."""

    better = "min"

    def _values(self, t: Array, p: Array) -> Array:
        return np.abs(p - align("y_true", t, p.shape))
