from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import numbers, real_array
from .._serialize import register
from ..losses import SparseCategoricalCrossentropy
from ..losses.base import align, vectors
from .base import Mean, flat_weights


@register("metric")
class Perplexity(Mean):
    """exp of the mean of -log p[y] over all elements, each step counting alike.

    y_true is (B,) or (B, T): class numbers; y_pred is (B, C) or (B, T, C).

    Args:
        from_logits: y_pred are logits. Default False.
        ignore_class: a class number, inside or outside [0, C), that does not count. Default None.
        name: as in `Metric`.

    Raises:
        TypeError: ignore_class is neither an int nor None.
        ValueError: y_true is no class of y_pred.
    """

    better = "min"

    def __init__(
        self, from_logits: bool = False, ignore_class: int | None = None, name: str | None = None
    ) -> None:
        self._loss = SparseCategoricalCrossentropy(from_logits, ignore_class)
        self.from_logits, self.ignore_class = from_logits, ignore_class
        super().__init__(name)

    def update_state(  # type: ignore[override]
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p = vectors(real_array("y_pred", y_pred))
        t = align("y_true", numbers("y_true", y_true), p.shape[:-1])
        weights = flat_weights(sample_weight, t.shape)
        if self.ignore_class is not None:
            weights = weights * (t.ravel() != self.ignore_class)
            t = np.where(t == self.ignore_class, 0, t)
        values, _ = self._loss._terms(t, p)
        self._add(values.ravel(), weights)

    def result(self) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(super().result())) if self.count else 0.0
