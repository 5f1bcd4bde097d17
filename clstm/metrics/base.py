from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import numbers
from .._serialize import Configurable, parameters, register, snake_case
from ..losses.base import align, leading, vectors

Array = NDArray[Any]


class Metric(Configurable):
    """Base of all metrics.

    Dimensions: B rows, T steps (absent when the model returns one output per row), F outputs or
    C classes.

    Args:
        name: str, the key under which the value is reported. Default None: the class's name in
            snake_case, such as "binary_accuracy".
    """

    kind = "metric"
    better: ClassVar[str | None] = None  # "min" or "max", where it is known

    def __init__(self, name: str | None = None) -> None:
        self.name = snake_case(type(self).__name__) if name is None else name
        self.reset_state()

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: labels, of y_pred's shape up to a last dimension of 1.
            y_pred: (B, F) or (B, T, F).
            sample_weight: (B,) or (B, T).

        Raises:
            ValueError: shapes do not fit; the metric is as it was.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update_state")

    def result(self) -> Any:
        """Returns the value over all batches since the last reset; 0 before the first.

        A float; an array where a metric says so.
        """
        raise NotImplementedError(f"{type(self).__name__} must define result")

    def get_state(self) -> dict[str, Any]:
        """Copies of what has been added up: attributes that are no arguments, and of metrics."""
        arguments = parameters(type(self))
        own = {name: copy.deepcopy(value) for name, value in vars(self).items()
               if name not in arguments and not isinstance(value, Configurable)}  # fmt: skip
        return own | {name: metric.get_state() for name, metric in self._inner().items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` gave."""
        inner = self._inner()
        for name, value in state.items():
            if name in inner:
                inner[name].set_state(value)
            else:
                setattr(self, name, copy.deepcopy(value))

    def _inner(self) -> dict[str, Metric]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Metric)}

    def reset_state(self) -> None:
        """Forgets all batches."""
        raise NotImplementedError(f"{type(self).__name__} must define reset_state")


@register("metric")
class Mean(Metric):
    """Weighted mean of values, such as the losses of batches weighted by their rows."""

    def update_state(  # type: ignore[override]
        self, values: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Adds values.

        Args:
            values: a number, or an array (B, ...) whose rows count one each.
            sample_weight: None (1 each), a number for a number, or an array of the leading
                dimensions of values.

        Raises:
            ValueError: sample_weight's shape does not fit.
        """
        if isinstance(values, float):
            weight = 1.0 if sample_weight is None else float(sample_weight)  # type: ignore[arg-type]
            self.total += float(values) * weight
            self.count += weight
            return
        array = np.asarray(values, np.float64)
        if array.ndim == 0:
            array = array.reshape(1)
            sample_weight = None if sample_weight is None else np.reshape(sample_weight, 1)
        self._add(array, sample_weight)

    def _add(self, values: Array, sample_weight: ArrayLike | None) -> None:
        """Adds (B, ...) values, numbers or bools; each row counts its mean weight."""
        rows = len(values)
        if sample_weight is None:
            if values.dtype == np.bool_:
                total = float(np.count_nonzero(values))
            else:
                total = float(np.add.reduce(values, axis=None, dtype=np.float64))
            count = float(rows)
        else:
            weights = leading("sample_weight", sample_weight, values.shape, np.float64)
            total = float((values * weights).sum())
            count = float(weights.sum()) * (rows / max(weights.size, 1))
        self.total += total * (rows / max(values.size, 1))
        self.count += count

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        self.total = 0.0
        self.count = 0.0


class MeanOfValues(Mean):
    """The mean of one value per element, which `_values` computes."""

    def update_state(  # type: ignore[override]
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        self._add(self._values(known(y_true), np.asarray(y_pred)), sample_weight)

    def _values(self, t: Array, p: Array) -> Array:
        raise NotImplementedError


def known(y_true: ArrayLike) -> Array:
    """y_true as numbers; ValueError for NaN."""
    t = numbers("y_true", y_true)
    if t.dtype.kind == "f" and np.isnan(t).any():
        raise ValueError("y_true: expected numbers, got NaN")
    return t


def labels(y_true: ArrayLike, shape: tuple[int, ...]) -> Array:
    """y_true as numbers in `shape`; ValueError for another shape or NaN."""
    return align("y_true", known(y_true), shape)


def indicators(y_true: ArrayLike, shape: tuple[int, ...]) -> Array:
    """As `labels`, and ValueError outside [0, 1]."""
    t = labels(y_true, shape)
    wrong = (t < 0) | (t > 1)
    if wrong.any():
        raise ValueError(f"y_true: expected labels in [0, 1], got {t[wrong].flat[0]}")
    return t


def flat_weights(sample_weight: ArrayLike | None, shape: tuple[int, ...]) -> Array:
    """One weight for each element of `shape`, flattened; 1 without sample_weight."""
    if sample_weight is None:
        return np.ones(math.prod(shape))
    weights = leading("sample_weight", sample_weight, shape, np.float64)
    return np.broadcast_to(weights, shape).ravel()


def outputs(y_pred: ArrayLike, sums: Array | None) -> Array:
    """y_pred (B, F) or (B, T, F); ValueError for another rank, or another F than sums (..., F)."""
    p = vectors(numbers("y_pred", y_pred))
    if sums is not None and sums.shape[-1] != p.shape[-1]:
        raise ValueError(f"y_pred: expected a last dimension of {sums.shape[-1]}, as in the "
                         f"batches before, got {p.shape[-1]}")  # fmt: skip
    return p
