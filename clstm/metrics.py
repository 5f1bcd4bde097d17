"""Metrics, accumulated over batches in float64.

Values, weights and names follow Keras 3. A metric knows no masks: the caller multiplies
`sample_weight` by the mask.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clstm import _serialize
from clstm._serialize import Configurable, register, snake_case
from clstm.losses import align, leading, task

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

    def result(self) -> float:
        """Returns the value over all batches since the last reset; 0 before the first."""
        raise NotImplementedError(f"{type(self).__name__} must define result")

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


class _MeanOfValues(Mean):
    """The mean of one value per element, which `_values` computes."""

    def update_state(  # type: ignore[override]
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        self._add(self._values(np.asarray(y_true), np.asarray(y_pred)), sample_weight)

    def _values(self, t: Array, p: Array) -> Array:
        raise NotImplementedError


@register("metric")
class BinaryAccuracy(_MeanOfValues):
    """Share of elements with (y_pred > threshold) == y_true.

    Args:
        name: as in `Metric`.
        threshold: float. Default 0.5.
    """

    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = threshold

    def _values(self, t: Array, p: Array) -> Array:
        return (p > self.threshold) == align("y_true", t, p.shape)


@register("metric")
class CategoricalAccuracy(_MeanOfValues):
    """Share of elements whose largest y_pred is where the largest y_true is."""

    def _values(self, t: Array, p: Array) -> Array:
        if t.shape != p.shape:
            raise ValueError(f"y_true must have the shape {p.shape} of y_pred, received {t.shape}")
        return t.argmax(axis=-1) == p.argmax(axis=-1)


@register("metric")
class SparseCategoricalAccuracy(_MeanOfValues):
    """Share of elements whose largest y_pred is at the class number y_true.

    y_true is (B,) or (B, T), or has a last dimension of 1 more.
    """

    def _values(self, t: Array, p: Array) -> Array:
        return p.argmax(axis=-1) == align("y_true", t, p.shape[:-1])


@register("metric", "mse", "MSE")
class MeanSquaredError(_MeanOfValues):
    """Mean of (y_pred - y_true)^2."""

    def _values(self, t: Array, p: Array) -> Array:
        error = p - align("y_true", t, p.shape)
        return error * error


@register("metric", "mae", "MAE")
class MeanAbsoluteError(_MeanOfValues):
    """Mean of |y_pred - y_true|."""

    def _values(self, t: Array, p: Array) -> Array:
        return np.abs(p - align("y_true", t, p.shape))


class _PositivesShare(Metric):
    """Weight of the true positives over that of all predicted positives or all positive labels."""

    _of_predicted: bool

    def __init__(self, thresholds: float | None = None, *, name: str | None = None) -> None:
        if thresholds is not None and not 0.0 <= thresholds <= 1.0:
            raise ValueError(f"thresholds must be a number in [0, 1], received {thresholds}")
        super().__init__(name)
        self.thresholds = thresholds

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p = np.asarray(y_pred)
        positive = align("y_true", np.asarray(y_true), p.shape).astype(np.bool_)
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

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", *, name: str | None = None
    ) -> None:
        if num_thresholds < 2:
            raise ValueError(f"num_thresholds must be >= 2, received {num_thresholds}")
        if curve not in ("ROC", "PR"):
            raise ValueError(f"curve must be 'ROC' or 'PR', received {curve!r}")
        self.num_thresholds = num_thresholds
        self.curve = curve
        super().__init__(name)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        p = np.asarray(y_pred)
        positive = align("y_true", np.asarray(y_true), p.shape).ravel().astype(np.bool_)
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


def get(identifier: Any) -> Metric | None:
    """Returns the metric for None, a name ("auc"), a config dict or an instance.

    ValueError for an unknown name or a malformed dict, TypeError for any other type.
    """
    return _serialize.get("metric", identifier)


def resolve(
    identifier: Any,
    loss: Any,
    y_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
) -> Metric:
    """Returns the metric that an element of `compile(metrics=...)` means for an output.

    "accuracy" and "acc", in any case, mean the binary, categorical or sparse accuracy that fits
    the shapes, as in Keras. A metric made from a string is named by it.

    Args:
        identifier: str, config dict or instance.
        loss: the output's loss; a binary accuracy next to a loss on logits is warned about, since
            it compares the logits with 0.5.
        y_shape: shape of y_true with the batch dimension, which may be None.
        output_shape: shape of y_pred with the batch dimension, which may be None.

    Raises:
        ValueError: unknown name or malformed dict.
        TypeError: any other type, None included.
    """
    if not isinstance(identifier, str):
        metric = get(identifier)
        if metric is None:
            raise TypeError("expected a metric as a name, a dict or an instance, received None")
        return metric
    name = identifier
    if identifier.lower() in ("accuracy", "acc"):
        kind = task(y_shape, output_shape)
        name = kind + "_accuracy"
        if kind == "binary" and getattr(loss, "from_logits", False):
            warnings.warn(
                f"metric {identifier!r} compares logits with 0.5, as in Keras; for the accuracy "
                "of the probabilities pass BinaryAccuracy(threshold=0.0)",
                stacklevel=2,
            )
    made: Metric = _serialize.get("metric", name)
    made.name = identifier
    return made
