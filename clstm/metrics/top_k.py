from __future__ import annotations

import numpy as np

from .._arrays import boolean, numbers, positive
from .._serialize import register
from ..losses.base import align
from ..losses.crossentropy import class_numbers
from .base import Array, MeanOfValues, indicators


@register("metric")
class TopKCategoricalAccuracy(MeanOfValues):
    """Share of elements where fewer than k classes have a larger y_pred than that of y_true.

    y_true is (B, C) or (B, T, C): the class is where it is largest.

    Args:
        k: int >= 1. Default 5.
        name: as in `Metric`.

    Raises:
        ValueError: k < 1; y_true is outside [0, 1].
    """

    better = "max"

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = positive("k", k)

    def _values(self, t: Array, p: Array) -> Array:
        if t.shape != p.shape:
            raise ValueError(f"y_true: expected the shape {p.shape} of y_pred, got {t.shape}")
        return _in_top(indicators(t, p.shape).argmax(axis=-1), p, self.k)


@register("metric")
class SparseTopKCategoricalAccuracy(MeanOfValues):
    """As `TopKCategoricalAccuracy`, of class numbers y_true (B,) or (B, T).

    Args:
        k: int >= 1. Default 5.
        name: as in `Metric`.
        from_sorted_ids: y_pred holds class numbers, the most probable first. Default False.

    Raises:
        ValueError: k < 1; y_true is no class of y_pred.
    """

    better = "max"

    def __init__(
        self, k: int = 5, name: str | None = None, *, from_sorted_ids: bool = False
    ) -> None:
        super().__init__(name)
        self.k = positive("k", k)
        self.from_sorted_ids = boolean("from_sorted_ids", from_sorted_ids)

    def _values(self, t: Array, p: Array) -> Array:
        t = align("y_true", numbers("y_true", t), p.shape[:-1])
        if self.from_sorted_ids:
            if np.isnan(t).any():
                raise ValueError("y_true: expected class numbers, got NaN")
            return (p[..., : self.k] == t[..., None]).any(axis=-1)
        return _in_top(class_numbers(t, p.shape[-1]).reshape(t.shape), p, self.k)


def _in_top(classes: Array, p: Array, k: int) -> Array:
    chosen = np.take_along_axis(p, classes[..., None], axis=-1)
    chosen = np.where(np.isnan(chosen), -np.inf, chosen)
    return (p > chosen).sum(axis=-1) < k
