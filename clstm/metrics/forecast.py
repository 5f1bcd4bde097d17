"""Metrics of forecasts: errors relative to the labels or to a naive forecast, and intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import integer, numbers, one_or_more, positive
from .._serialize import register
from ..losses.base import EPSILON
from .base import Array, MeanOfValues, labels


@register("metric", "mape", "MAPE")
class MeanAbsolutePercentageError(MeanOfValues):
    """Mean of 100 |y_pred - y_true| / |y_true|, where |y_true| < 1e-7 counts as 1e-7."""

    better = "min"

    def _values(self, t: Array, p: Array) -> Array:
        t = labels(t, p.shape)
        return 100 * np.abs(p - t) / np.maximum(np.abs(t), EPSILON)


@register("metric", "smape", "SMAPE", "sMAPE")
class SymmetricMeanAbsolutePercentageError(MeanOfValues):
    """Mean of 200 |y_pred - y_true| / (|y_pred| + |y_true|): 0 to 200, 0 where both are 0.

    The form of the M4 competition (Makridakis et al. 2020).
    """

    better = "min"

    def _values(self, t: Array, p: Array) -> Array:
        t = labels(t, p.shape)
        return 200 * np.abs(p - t) / np.maximum(np.abs(p) + np.abs(t), EPSILON)


@register("metric", "mase", "MASE")
class MeanAbsoluteScaledError(MeanOfValues):
    """Mean of |y_pred - y_true| / scale: Hyndman and Koehler 2006.

    Less than 1: better than the naive forecast was on the training series.

    Args:
        scale: float > 0, or a list of F of them, one per output: `naive_error` of the training
            series.
        name: as in `Metric`.

    Raises:
        ValueError: scale <= 0; not one for each output; y_true has NaN.
    """

    better = "min"

    def __init__(self, scale: float | Sequence[float], name: str | None = None) -> None:
        self.scale = one_or_more("scale", scale, above=0)
        super().__init__(name)

    def _values(self, t: Array, p: Array) -> Array:
        if np.shape(self.scale) not in ((), p.shape[-1:]):
            raise ValueError(f"scale: expected {p.shape[-1]} numbers, one per output of y_pred, "
                             f"got {np.size(self.scale)}")  # fmt: skip
        return np.abs(p - labels(t, p.shape)) / np.asarray(self.scale)


def naive_error(series: ArrayLike, seasonality: int = 1) -> float | list[float]:
    """Mean of |y_t - y_{t - m}|, the error of a forecast that repeats the last season.

    Args:
        series: (T,), or (T, F) for a list of F values.
        seasonality: int in [1, T), m. Default 1.

    Raises:
        ValueError: series has another rank or NaN; seasonality is outside [1, T).
    """
    y = numbers("series", series).astype(np.float64)
    if y.ndim not in (1, 2) or np.isnan(y).any():
        raise ValueError(f"series: expected (T,) or (T, F) without NaN, got shape {y.shape}"
                         + " with NaN" * bool(np.isnan(y).any()))  # fmt: skip
    m = positive("seasonality", seasonality)
    if m >= len(y):
        raise ValueError(f"seasonality: expected less than the {len(y)} steps of series, got {m}")
    found: float | list[float] = np.abs(y[m:] - y[:-m]).mean(axis=0).tolist()
    return found


@register("metric")
class Coverage(MeanOfValues):
    """Share of labels inside an interval between two of the outputs, ends included.

    y_true is (B, F) or (B, T, F), y_pred's last dimension is P F, as for the loss `Quantile`: all
    first quantiles, then all second ones. With the quantiles 0.1 ... 0.9 the share should be 0.8.

    Args:
        lower, upper: which of the P quantiles the ends are. Default 0 and -1.
        name: as in `Metric`.

    Raises:
        ValueError: y_pred does not have these quantiles; y_true has NaN.
    """

    def __init__(self, lower: int = 0, upper: int = -1, name: str | None = None) -> None:
        self.lower, self.upper = integer("lower", lower), integer("upper", upper)
        super().__init__(name)

    def _values(self, t: Array, p: Array) -> Array:
        outputs = t.shape[-1] if t.ndim == p.ndim else 1
        count = p.shape[-1] // max(outputs, 1)
        if p.ndim < 2 or count < 2 or count * outputs != p.shape[-1]:
            raise ValueError(f"y_pred: expected two quantiles or more for each of {outputs} labels,"
                             f" got shape {p.shape}")  # fmt: skip
        for name in ("lower", "upper"):
            if not -count <= getattr(self, name) < count:
                raise ValueError(f"{name}: expected one of {count} quantiles, got "
                                 f"{getattr(self, name)}")  # fmt: skip
        t = labels(t, (*p.shape[:-1], outputs))
        ends = p.reshape(*p.shape[:-1], count, outputs)
        return (ends[..., self.lower, :] <= t) & (t <= ends[..., self.upper, :])
