"""Losses, each with its gradient.

A loss is the mean over all elements that its own reduction (over the last axis) leaves, with Keras
3's rules: `sample_weight` multiplies and leaves the divisor as it is, `mask` takes elements out of
the sum and of the divisor. Sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from clstm import _serialize
from clstm._arrays import FLOATS, float_array, numbers
from clstm._serialize import Configurable, register

_EPSILON = 1e-7  # probabilities are clipped to [_EPSILON, 1 - _EPSILON]

Array = NDArray[Any]


class Loss(Configurable):
    """Base of all losses.

    Dimensions: B rows, T steps (absent when the model returns one output per row), F outputs or
    C classes. A subclass defines `_terms`; one with other labels than y_pred's also `_targets`.
    """

    kind = "loss"
    ignore_class: int | None = None

    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        sample_weight: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> float:
        """Returns the loss. Arguments and errors are those of `value_and_gradient`."""
        return self.value_and_gradient(y_true, y_pred, sample_weight, mask)[0]

    def value_and_gradient(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        sample_weight: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> tuple[float, Array]:
        """Returns the loss and its gradient.

        Args:
            y_true: labels, of y_pred's shape up to a last dimension of 1; any real dtype.
            y_pred: (B, F) or (B, T, F), float32 or float64; other numbers become float32.
            sample_weight: (B,) or (B, T), factors of the rows' or the steps' losses.
            mask: (B,) or (B, T) bool; where it is False, y_true may hold anything.

        Returns:
            float and an array of y_pred's shape and dtype: d loss / d y_pred. Both are 0 where
            nothing is valid.

        Raises:
            TypeError: an argument is not numeric.
            ValueError: shapes do not fit, or y_true has NaN or impossible labels.
        """
        float32, float64 = FLOATS
        own = getattr(y_pred, "dtype", None)
        p = float_array("y_pred", y_pred, float64 if own == float64 else float32)
        if p.size == 0 or p.ndim == 0:
            raise ValueError(f"y_pred must have at least one row, received shape {p.shape}")
        t = self._targets(y_true, p)
        if sample_weight is None and mask is None and self.ignore_class is None:
            values, d = self._terms(t, p)
            scale = 1.0 / values.size
            d *= scale
        else:
            t, weights, share = self._weigh(t, p, sample_weight, mask)
            values, d = self._terms(t, p)
            scale = 1.0 / (values.size * share) if share else 0.0
            values = values * weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
            d *= weights.reshape(weights.shape + (1,) * (d.ndim - weights.ndim)) * scale
        value = float(np.add.reduce(values, axis=None, dtype=np.float64)) * scale
        if value != value and np.isnan(t).any():
            raise ValueError("y_true has NaN labels")
        return value, d

    def check(self, y_true: ArrayLike, shape: tuple[int, ...]) -> None:
        """Raises what `value_and_gradient` would for these labels and outputs of that shape."""
        p = np.broadcast_to(np.float32(0), shape)
        t = self._targets(y_true, p)
        if t.dtype.kind == "f" and np.isnan(t).any():
            raise ValueError("y_true has NaN labels")

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        """y_true as an array of p's shape and dtype."""
        return align("y_true", float_array("y_true", y_true, p.dtype), p.shape)

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        """The losses, of p's shape or without its last axis, and d sum(losses) / dp, writable."""
        raise NotImplementedError(f"{type(self).__name__} must define _terms")

    def _weigh(
        self, t: Array, p: Array, sample_weight: ArrayLike | None, mask: ArrayLike | None
    ) -> tuple[Array, Array, float]:
        """Labels with 0 where masked, weights of p's leading rank, and the valid share."""
        lead = p.shape[:-1] or p.shape
        weights = np.ones((1,) * len(lead), p.dtype)
        share = 1.0
        keep = None if mask is None else leading("mask", mask, lead, np.bool_)
        if self.ignore_class is not None:
            counted = t != self.ignore_class
            keep = counted if keep is None else keep & counted
        if keep is not None:
            share = int(np.count_nonzero(keep)) / keep.size
            weights = keep.astype(p.dtype)
            t = np.where(keep.reshape(keep.shape + (1,) * (t.ndim - keep.ndim)), t, t.dtype.type(0))
        if sample_weight is not None:
            weights = weights * leading("sample_weight", sample_weight, lead, p.dtype)
        return t, weights, share


class _Crossentropy(Loss):
    """The arguments of the crossentropies whose labels are probabilities."""

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1], received {label_smoothing}")
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


@register("loss", "bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
    """-(t log p + (1 - t) log(1 - p)) of labels t and probabilities p, or logits z.

    For probabilities d/dp = (p - t) / (p (1 - p)), and 0 where p was clipped; for logits the loss
    is max(z, 0) - t z + log(1 + exp(-|z|)) and d/dz = sigmoid(z) - t.

    Args:
        from_logits: y_pred are logits. Default False.
        label_smoothing: s in [0, 1], labels become t (1 - s) + s / 2. Default 0.

    Raises:
        ValueError: label_smoothing outside [0, 1].
    """

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        if self.label_smoothing:
            t = t * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            e = np.exp(-np.abs(p))
            values = np.maximum(p, 0) - t * p
            values += np.log1p(e)
            d = np.where(p >= 0, p.dtype.type(1), e)
            e += 1
            d /= e
            d -= t
            return values, d
        q = np.minimum(np.maximum(p, _EPSILON), 1.0 - _EPSILON)
        r = 1.0 - q
        d = q - t
        d /= q * r
        d *= q == p
        np.log(q, out=q)
        np.log(r, out=r)
        q -= r
        q *= t
        q += r
        return np.negative(q, out=q), d


@register("loss")
class CategoricalCrossentropy(_Crossentropy):
    """-sum_k t_k log p_k over the last axis, of one-hot or soft labels t.

    Probabilities are first divided by their sum S, then clipped: with u = p / S,
    d/dp_k = (sum_j t_j - t_k / u_k) / S, over the unclipped j, k. For logits
    d/dz_k = softmax(z)_k sum_j t_j - t_k.

    Args:
        from_logits: y_pred are logits. Default False.
        label_smoothing: s in [0, 1], labels become t (1 - s) + s / C. Default 0.

    Raises:
        ValueError: label_smoothing outside [0, 1].
    """

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        t = float_array("y_true", y_true, p.dtype)
        if p.ndim < 2 or t.shape != p.shape:
            raise ValueError(
                f"y_true must have the shape {p.shape} of y_pred, one value per class, received "
                f"{t.shape}; SparseCategoricalCrossentropy takes class numbers"
            )
        return t

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        if self.label_smoothing:
            t = t * (1.0 - self.label_smoothing) + self.label_smoothing / p.shape[-1]
        if self.from_logits:
            z = p - np.maximum.reduce(p, axis=-1, keepdims=True)
            d = np.exp(z)
            total = np.add.reduce(d, axis=-1, keepdims=True)
            values = np.add.reduce(t * (np.log(total) - z), axis=-1)
            d *= np.add.reduce(t, axis=-1, keepdims=True) / total
            d -= t
            return values, d
        total = np.add.reduce(p, axis=-1, keepdims=True)
        n = p / total
        u = np.minimum(np.maximum(n, _EPSILON), 1.0 - _EPSILON)
        values = np.add.reduce(t * np.log(u), axis=-1)
        moved = t * (u == n)
        d = np.add.reduce(moved, axis=-1, keepdims=True) - moved / u
        d /= total
        return np.negative(values, out=values), d


@register("loss")
class SparseCategoricalCrossentropy(Loss):
    """-log p[y] of class numbers y; as `CategoricalCrossentropy` on one-hot labels.

    y_true is (B,) or (B, T), or has a last dimension of 1 more: whole numbers in [0, C).

    Args:
        from_logits: y_pred are logits. Default False.
        ignore_class: a class number, inside or outside [0, C), whose elements count as masked.
            Default None.

    Raises:
        TypeError: ignore_class is neither an int nor None.
    """

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None) -> None:
        if ignore_class is not None and not isinstance(ignore_class, (int, np.integer)):
            raise TypeError(f"ignore_class must be an int or None, received {ignore_class!r}")
        self.from_logits = from_logits
        self.ignore_class = ignore_class

    def check(self, y_true: ArrayLike, shape: tuple[int, ...]) -> None:
        t = self._targets(y_true, np.broadcast_to(np.float32(0), shape))
        _class_numbers(t if self.ignore_class is None else t[t != self.ignore_class], shape[-1])

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        if p.ndim < 2:
            raise ValueError(f"y_pred must be (B, C) or (B, T, C), received shape {p.shape}")
        return align("y_true", numbers("y_true", y_true), p.shape[:-1])

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        classes = p.shape[-1]
        flat = _class_numbers(t, classes) + np.arange(0, p.size, classes)
        if self.from_logits:
            z = p - np.maximum.reduce(p, axis=-1, keepdims=True)
            d = np.exp(z)
            total = np.add.reduce(d, axis=-1, keepdims=True)
            values = np.log(total).ravel()
            values -= z.ravel()[flat]
            d /= total
            d.reshape(-1)[flat] -= 1
        else:
            total = np.add.reduce(p, axis=-1, keepdims=True)
            n = p.ravel()[flat] / total.ravel()
            u = np.minimum(np.maximum(n, _EPSILON), 1.0 - _EPSILON)
            free = u == n
            d = np.empty_like(p)
            d[...] = free.reshape(total.shape) / total
            d.reshape(-1)[flat] -= free / (u * total.ravel())
            values = np.negative(np.log(u, out=u), out=u)
        return values.reshape(t.shape), d


@register("loss", "mse", "MSE")
class MeanSquaredError(Loss):
    """(p - t)^2, gradient 2 (p - t)."""

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        d = p - t
        values = d * d
        d += d
        return values, d


@register("loss", "mae", "MAE")
class MeanAbsoluteError(Loss):
    """|p - t|, gradient sign(p - t), 0 at 0."""

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        d = p - t
        return np.abs(d), np.sign(d, out=d)


@register("loss")
class Huber(Loss):
    """With e = p - t and a = min(|e|, delta): a (|e| - a / 2), gradient a sign(e).

    That is e^2 / 2 up to delta and delta (|e| - delta / 2) beyond: Huber 1964.

    Args:
        delta: float > 0. Default 1.

    Raises:
        ValueError: delta <= 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        if not delta > 0:
            raise ValueError(f"delta must be > 0, received {delta}")
        self.delta = delta

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        d = p - t
        values = np.abs(d)
        a = np.minimum(values, self.delta)
        np.copysign(a, d, out=d)
        values -= 0.5 * a
        values *= a
        return values, d


def get(identifier: Any) -> Loss | None:
    """Returns the loss for None, a name ("mse"), a config dict or an instance.

    ValueError for an unknown name or a malformed dict, TypeError for any other type.
    """
    return _serialize.get("loss", identifier)


def resolve(
    identifier: Any, y_shape: Sequence[int | None], output_shape: Sequence[int | None]
) -> Loss | None:
    """As `get`, and "crossentropy" or "ce" stand for the one that fits the shapes."""
    if isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        return get(task(y_shape, output_shape) + "_crossentropy")
    return get(identifier)


def task(y_shape: Sequence[int | None], output_shape: Sequence[int | None]) -> str:
    """ "binary", "sparse_categorical" or "categorical": Keras's reading of the two shapes.

    Both with the batch dimension, which may be None.
    """
    if output_shape[-1] == 1:
        return "binary"
    if len(y_shape) < len(output_shape) or y_shape[-1] == 1:
        return "sparse_categorical"
    return "categorical"


def align(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """`array` in `shape`, from which it may differ by a last dimension of 1."""
    if array.shape == shape:
        return array
    if array.shape == (*shape, 1) or (*array.shape, 1) == shape:
        return array.reshape(shape)
    raise ValueError(f"{name} must have the shape {shape} to fit y_pred, received {array.shape}")


def leading(name: str, value: ArrayLike, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """The argument `name`, of `shape`'s first dimensions, with 1 for each of the others."""
    array = np.asarray(value, dtype)
    while array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 0 or array.shape != shape[: array.ndim]:
        expected = " or ".join(str(shape[:n]) for n in range(1, len(shape) + 1))
        raise ValueError(f"{name} must have the shape {expected}, received {np.shape(value)}")
    return array.reshape(array.shape + (1,) * (len(shape) - array.ndim))


def _class_numbers(t: Array, classes: int) -> NDArray[np.intp]:
    """The labels flattened; whole numbers in [0, classes) or ValueError."""
    flat = t.ravel()
    if flat.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # NaN and infinity become numbers that differ
            numbers = flat.astype(np.intp)
        whole = np.array_equal(numbers, flat)
    else:
        numbers, whole = flat.astype(np.intp, copy=False), True
    # Seen as unsigned, negative numbers are beyond every class: one reduction checks both ends.
    if not whole or np.maximum.reduce(numbers.view(np.uintp), initial=0) >= classes:
        wrong = flat[(numbers != flat) | (numbers < 0) | (numbers >= classes)][0]
        raise ValueError(
            f"y_true must hold whole numbers in [0, {classes}), one per class of y_pred, "
            f"received {wrong}"
        )
    return numbers
