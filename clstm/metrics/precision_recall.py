from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import share
from .._serialize import register
from ..losses.base import leading
from .base import Metric, labels


class _PositivesShare(Metric):
    """Weight of the true positives over that of all predicted positives or all positive labels."""

    better = "max"

    _of_predicted: bool

    def __init__(self, thresholds: float | None = None, *, name: str | None = None) -> None:
        super().__init__(name)
        self.thresholds = None if thresholds is None else share("thresholds", thresholds)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p = np.asarray(y_pred)
        positive = labels(y_true, p.shape).astype(np.bool_)
        predicted = p > (0.5 if self.thresholds is None else self.thresholds)
        hits, among = positive & predicted, predicted if self._of_predicted else positive
        if sample_weight is None:
            self.true_positives += int(np.count_nonzero(hits))
            self.total += int(np.count_nonzero(among))
        else:
            weights = leading("sample_weight", sample_weight, p.shape, np.float64)
            self.true_positives += float((hits * weights).sum())
            self.total += float((among * weights).sum())

    def result(self) -> float:
        return self.true_positives / self.total if self.total else 0.0

    def reset_state(self) -> None:
        self.true_positives = 0.0
        self.total = 0.0


@register("metric")
class Precision(_PositivesShare):
    """True positives / predicted positives, those with y_pred > thresholds.

    Args:
        thresholds: float in [0, 1], or None (default): 0.5.
        name: as in `Metric`.

    Raises:
        ValueError: thresholds outside [0, 1].
    """

    _of_predicted = True


@register("metric")
class Recall(_PositivesShare):
    """True positives / positive labels. Arguments and errors are those of `Precision`."""

    _of_predicted = False
