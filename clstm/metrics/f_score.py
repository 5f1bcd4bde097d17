from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import number
from .._serialize import register
from .base import Array, Metric, flat_weights, indicators, outputs

AVERAGES = (None, "micro", "macro", "weighted")


@register("metric", "fbeta_score")
class FBetaScore(Metric):
    """(1 + beta^2) tp / (beta^2 positives + predicted positives) of each label, 0 where 0 / 0.

    y_true and y_pred are (B, C) or (B, T, C), y_true with 1 where a label applies.

    Args:
        average: None (default): the result is an array (C,), a score for each label. "micro": of
            the counts of all labels; "macro": the mean; "weighted": the mean by positives.
        beta: float > 0, how much recall counts beside precision. Default 1.
        threshold: float in (0, 1]: a label is predicted where y_pred is above. Default None: where
            y_pred is the largest, and not 0.
        name: as in `Metric`.

    Raises:
        ValueError: an argument is none of these; y_true is outside [0, 1].
    """

    better = "max"

    _sums: Array | None  # (3, C): true positives, predicted positives, positives

    def __init__(
        self, average: str | None = None, beta: float = 1.0, threshold: float | None = None,
        name: str | None = "fbeta_score",
    ) -> None:  # fmt: skip
        if average not in AVERAGES:
            raise ValueError(f"average: expected one of {AVERAGES}, got {average!r}")
        self.average = average
        self.beta = number("beta", beta, above=0)
        self.threshold = None if threshold is None else number(
            "threshold", threshold, above=0, most=1)  # fmt: skip
        super().__init__(name)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p = outputs(y_pred, self._sums)
        t = indicators(y_true, p.shape).reshape(-1, p.shape[-1])
        weights = flat_weights(sample_weight, p.shape[:-1])[:, None]
        p = p.reshape(t.shape)
        if self.threshold is None:
            predicted = (p >= p.max(axis=1, keepdims=True)) & (np.abs(p) > 1e-9)
        else:
            predicted = p > self.threshold
        counted = np.stack([predicted * t, predicted, t]) * weights
        more = counted.sum(axis=1)
        self._sums = more if self._sums is None else self._sums + more

    def result(self) -> Any:
        """A float, or an array (C,) for average=None."""
        if self._sums is None:
            return 0.0
        hits, predicted, positives = self._sums
        if self.average == "micro":
            hits, predicted, positives = self._sums.sum(axis=1, keepdims=True)
        b = self.beta**2
        among = b * positives + predicted
        scores = np.divide((1 + b) * hits, among, out=np.zeros(among.shape), where=among > 0)
        if self.average is None:
            return scores
        if self.average == "weighted":
            total = positives.sum()
            return float((scores * positives).sum() / total) if total else 0.0
        return float(scores.mean())

    def reset_state(self) -> None:
        self._sums = None


@register("metric")
class F1Score(FBetaScore):
    """`FBetaScore` with beta = 1: the harmonic mean of precision and recall."""

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = None
    ) -> None:
        super().__init__(average, 1.0, threshold, name)
