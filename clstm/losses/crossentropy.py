from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _native_backend
from .._arrays import float_array, numbers, share
from .._kernels import _pointwise
from .._serialize import register
from ..functional import backend_module
from .base import EPSILON, Array, Loss, align


class _Crossentropy(Loss):
    """The arguments of the crossentropies whose labels are probabilities."""

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        self.from_logits = bool(from_logits)
        self.label_smoothing = share("label_smoothing", label_smoothing)

    def _smoothed(self, t: Array, classes: int) -> Array:
        s = self.label_smoothing
        return t * (1.0 - s) + s / classes if s else t


@register("loss", "bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
    """-(t log p + (1 - t) log(1 - p)) of labels t and probabilities p, or logits z.

    For probabilities d/dp = (p - t) / (p (1 - p)), and 0 where p was clipped; for logits the loss
    is max(z, 0) - t z + log(1 + exp(-|z|)) and d/dz = sigmoid(z) - t.

    Args:
        from_logits: y_pred are logits. Default False.
        label_smoothing: s in [0, 1], labels become t (1 - s) + s / 2. Default 0.

    Raises:
        ValueError: label_smoothing outside [0, 1]; labels outside [0, 1].
    """

    label_range = (0.0, 1.0)

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        if self.from_logits:
            return self._logit_terms(t, p)
        values, d = np.empty(p.shape, p.dtype), np.empty(p.shape, p.dtype)
        flat = [a.reshape(-1) for a in (t, p, values, d)]
        if not _pointwise.binary_crossentropy(*flat, self.label_smoothing, EPSILON):
            self._require_range(t)
        return values, d

    def _logit_terms(self, t: Array, z: Array) -> tuple[Array, Array]:
        self._require_range(t)
        t = self._smoothed(t, 2)
        e = np.exp(-np.abs(z))
        values = np.maximum(z, 0) - t * z
        values += np.log1p(e)
        d = np.where(z >= 0, z.dtype.type(1), e)
        e += 1
        d /= e
        d -= t
        return values, d


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
        ValueError: label_smoothing outside [0, 1]. Of the labels, those outside [0, 1].
    """

    label_range = (0.0, 1.0)
    of_vectors = True

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        t = float_array("y_true", y_true, p.dtype)
        if p.ndim < 2 or t.shape != p.shape:
            raise ValueError(
                f"y_true must have the shape {p.shape} of y_pred, one value per class, received "
                f"{t.shape}; SparseCategoricalCrossentropy takes class numbers"
            )
        return t

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        self._require_range(t)
        t = self._smoothed(t, p.shape[-1])
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
        u = np.minimum(np.maximum(n, EPSILON), 1.0 - EPSILON)
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
        class_numbers(t if self.ignore_class is None else t[t != self.ignore_class], shape[-1])

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        if p.ndim < 2:
            raise ValueError(f"y_pred must be (B, C) or (B, T, C), received shape {p.shape}")
        return align("y_true", numbers("y_true", y_true), p.shape[:-1])

    @property
    def overwrites(self) -> bool:  # type: ignore[override]
        return self.from_logits

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        if self.from_logits:
            return self._terms_over(t, p.copy())
        classes = p.shape[-1]
        flat = class_numbers(t, classes) + np.arange(0, p.size, classes)
        total = np.add.reduce(p, axis=-1, keepdims=True)
        n = p.ravel()[flat] / total.ravel()
        u = np.minimum(np.maximum(n, EPSILON), 1.0 - EPSILON)
        free = u == n
        d = np.empty_like(p)
        d[...] = free.reshape(total.shape) / total
        d.reshape(-1)[flat] -= free / (u * total.ravel())
        values = np.negative(np.log(u, out=u), out=u)
        return values.reshape(t.shape), d

    def _terms_over(self, t: Array, p: Array) -> tuple[Array, Array]:
        """log sum_k exp(z_k) - z_y, the sum as 1 / softmax(z)_m of the largest, m; p becomes d."""
        if not self.from_logits or not p.flags.c_contiguous:
            return self._terms(t, p)
        classes = p.shape[-1]
        numbers = class_numbers(t, classes)
        d, rows = p.reshape(-1, classes), np.arange(len(numbers))
        top = d.argmax(axis=1)
        values = d[rows, top] - d[rows, numbers]
        if d.dtype == np.float32 and backend_module(None, d.dtype) is _native_backend:
            _pointwise.softmax(d)
        else:
            d -= d[rows, top][:, None]
            np.exp(d, out=d)
            d /= np.add.reduce(d, axis=1, keepdims=True)
        values -= np.log(d[rows, top])
        d[rows, numbers] -= 1
        return values.reshape(t.shape), p


def class_numbers(t: Array, classes: int) -> NDArray[np.intp]:
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
