from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import whole
from .._serialize import register
from .base import Array, Metric, flat_weights, labels, outputs

AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


@register("metric")
class R2Score(Metric):
    """1 - sum (t - p)^2 / sum (t - mean t)^2 of each output, the coefficient of determination.

    y_true and y_pred are (B, F) or (B, T, F). Where all labels of an output are equal: 1 if all
    predictions are right, else 0.

    Args:
        class_aggregation: "uniform_average" (default): the mean over the outputs;
            "variance_weighted_average": by the labels' variances; None: the result is an array
            (F,).
        num_regressors: int >= 0, k: 1 - (1 - R2) (n - 1) / (n - k - 1) for n elements with a
            weight, while n > k + 1. Default 0.
        name: as in `Metric`.

    Raises:
        ValueError: an argument is none of these; y_true has NaN.
    """

    better = "max"

    _origin: Array | None  # (F,), a label: sums about it lose few digits
    _sums: Array | None  # (4, F): of w, w t, w t^2, where t is counted from there, w (t - p)^2

    def __init__(
        self, class_aggregation: str | None = "uniform_average", num_regressors: int = 0,
        name: str | None = None,
    ) -> None:  # fmt: skip
        if class_aggregation not in AGGREGATIONS:
            raise ValueError(f"class_aggregation: expected one of {AGGREGATIONS}, got "
                             f"{class_aggregation!r}")  # fmt: skip
        self.class_aggregation = class_aggregation
        self.num_regressors = whole("num_regressors", num_regressors)
        super().__init__(name)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p = outputs(y_pred, self._sums)
        t = labels(y_true, p.shape).reshape(-1, p.shape[-1]).astype(np.float64)
        weights = flat_weights(sample_weight, p.shape[:-1])[:, None]
        if self._sums is None:
            self._origin, self._sums = t[:1].sum(axis=0), np.zeros((4, p.shape[-1]))
        error, t = p.reshape(t.shape) - t, t - self._origin
        self._sums += np.stack([np.broadcast_to(weights, t.shape), weights * t, weights * t * t,
                                weights * error * error]).sum(axis=1)  # fmt: skip
        self._elements += t.shape[1] * np.count_nonzero(weights)

    def result(self) -> Any:
        """A float, or an array (F,) for class_aggregation=None."""
        if self._sums is None:
            return 0.0
        count, first, second, residual = self._sums
        mean = np.divide(first, count, out=np.zeros(count.shape), where=count > 0)
        total = second - first * mean
        scores = np.where(residual == 0, 1.0, 0.0)
        scores = 1 - np.divide(residual, total, out=1 - scores, where=total > 0)
        if self.class_aggregation == "uniform_average":
            scores = scores.mean()
        elif self.class_aggregation == "variance_weighted_average":
            scores = (scores * total).sum() / total.sum() if total.sum() > 0 else scores.mean()
        free = self._elements - self.num_regressors - 1
        if self.num_regressors and free > 0:
            scores = 1 - (1 - scores) * (self._elements - 1) / free
        return scores if self.class_aggregation is None else float(scores)

    def reset_state(self) -> None:
        self._origin = self._sums = None
        self._elements = 0
