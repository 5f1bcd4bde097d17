from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import number, numbers, positive
from .._serialize import register
from ..losses.base import align
from ..losses.crossentropy import class_numbers
from .base import Array, Metric, flat_weights, indicators


@register("metric")
class ConfusionMatrix(Metric):
    """How often each class was taken for each: an array (C, C), rows labels, columns predictions.

    y_pred is (B, C) or (B, T, C), the class being where it is largest, or with C = 2 a last
    dimension of 1. y_true holds class numbers, or is of y_pred's shape.

    Args:
        num_classes: int >= 2, C.
        threshold: float; a last dimension of 1 above it is class 1. Default 0.5.
        name: as in `Metric`.

    Raises:
        ValueError: num_classes < 2; y_true is no class.
    """

    def __init__(
        self, num_classes: int, threshold: float = 0.5, name: str | None = None
    ) -> None:
        if positive("num_classes", num_classes) < 2:
            raise ValueError(f"num_classes: expected at least 2, got {num_classes}")
        self.num_classes = int(num_classes)
        self.threshold = number("threshold", threshold)
        super().__init__(name)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p, t, n = numbers("y_pred", y_pred), numbers("y_true", y_true), self.num_classes
        binary = n == 2 and p.shape[-1:] == (1,)
        if p.ndim < 2 or not (binary or p.shape[-1] == n):
            raise ValueError(f"y_pred: expected (B, {n}) or (B, T, {n}), got shape {p.shape}")
        if t.shape == p.shape and not binary:
            t = indicators(t, p.shape).argmax(axis=-1)
        predicted = p[..., 0] > self.threshold if binary else p.argmax(axis=-1)
        place = class_numbers(align("y_true", t, p.shape[:-1]), n) * n + predicted.ravel()
        counts = np.bincount(place, flat_weights(sample_weight, p.shape[:-1]), n * n)
        self._counts += counts.reshape(n, n)

    def result(self) -> Array:
        """The weights of the elements of each label and prediction, (C, C)."""
        return self._counts.copy()

    def reset_state(self) -> None:
        self._counts = np.zeros((self.num_classes, self.num_classes))
