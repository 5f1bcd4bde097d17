from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import positive
from .._serialize import register
from ..losses.base import leading
from .base import Metric, labels


@register("metric")
class AUC(Metric):
    """Area under the ROC or the precision-recall curve, from a histogram of the predictions.

    Predictions are clipped to [0, 1] and counted between n equally spaced thresholds, per label:
    cost and memory do not grow with the data, the error is of order 1 / n. ROC: trapezoids. PR: in
    each interval true positives and predicted positives grow linearly (Davis and Goadrich 2006,
    section 4), and the precision between them is integrated exactly.

    Args:
        num_thresholds: int >= 2, n. Default 200.
        curve: "ROC" (default) or "PR".
        name: as in `Metric`.

    Raises:
        ValueError: an argument is none of these.
    """

    better = "max"

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", *, name: str | None = None
    ) -> None:
        if positive("num_thresholds", num_thresholds) < 2:
            raise ValueError(f"num_thresholds: expected at least 2, got {num_thresholds}")
        if curve not in ("ROC", "PR"):
            raise ValueError(f"curve must be 'ROC' or 'PR', received {curve!r}")
        self.num_thresholds = num_thresholds
        self.curve = curve
        super().__init__(name)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p = np.asarray(y_pred)
        positive = labels(y_true, p.shape).ravel().astype(np.bool_)
        weights = None
        if sample_weight is not None:
            weights = leading("sample_weight", sample_weight, p.shape, np.float64)
            weights = np.broadcast_to(weights, p.shape).ravel()
        n = self.num_thresholds
        # Interval i holds thresholds[i] < p <= thresholds[i + 1]; a NaN falls into the first.
        bucket = np.ceil(np.fmin(np.fmax(p.ravel(), 0), 1) * (n - 1)).astype(np.intp) - 1
        bucket = np.maximum(bucket, 0) + n * positive
        self._histogram += np.bincount(bucket, weights, 2 * n)

    def result(self) -> float:
        n = self.num_thresholds
        # Weight of the predictions above each threshold, first of negative, then positive labels.
        above = self._histogram.reshape(2, n)[:, ::-1].cumsum(axis=1)[:, ::-1]
        fp, tp = above
        if tp[0] == 0.0:
            return 0.0
        if self.curve == "ROC":
            if fp[0] == 0.0:
                return 0.0
            return float(((fp[:-1] - fp[1:]) * (tp[:-1] + tp[1:])).sum() / (2.0 * fp[0] * tp[0]))
        predicted = fp + tp
        low, high = predicted[1:], predicted[:-1]
        d_tp, d_predicted = tp[:-1] - tp[1:], high - low
        slope = np.divide(d_tp, d_predicted, out=np.zeros(n - 1), where=d_predicted > 0)
        ratio = np.divide(
            predicted[:-1], predicted[1:], out=np.ones(n - 1), where=predicted[1:] > 0
        )
        offset = tp[1:] - slope * low
        return float((slope * (d_tp + offset * np.log(ratio))).sum() / tp[0])

    def reset_state(self) -> None:
        self._histogram = np.zeros(2 * self.num_thresholds)
