from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._arrays import float_array, real_array
from .._serialize import Configurable

Array = NDArray[Any]
EPSILON = 1e-7  # Keras's: probabilities are clipped to [EPSILON, 1 - EPSILON]


class Loss(Configurable):
    """Base of all losses.

    Dimensions: B rows, T steps (absent when the model returns one output per row), F outputs or
    C classes. A subclass defines `_terms`; one with other labels than y_pred's also `_targets`.
    """

    kind = "loss"
    ignore_class: int | None = None
    label_range: tuple[float, float] | None = None  # what `_terms` holds labels to
    of_vectors = False  # whether `_terms` reduces the last axis
    overwrites = False  # whether `value_and_gradient` takes `overwrite`, and makes use of it

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
        overwrite: bool = False,
    ) -> tuple[float, Array]:
        """Returns the loss and its gradient.

        Args:
            y_true: labels, of y_pred's shape up to a last dimension of 1; any real dtype.
            y_pred: (B, F) or (B, T, F), float32 or float64; other numbers become float32.
            sample_weight: (B,) or (B, T), factors of the rows' or the steps' losses.
            mask: (B,) or (B, T) bool; where it is False, y_true may hold anything.
            overwrite: the gradient may be written into y_pred, if the loss `overwrites`.

        Returns:
            float and an array of y_pred's shape and dtype: d loss / d y_pred. Both are 0 where
            nothing is valid.

        Raises:
            TypeError: an argument is not numeric.
            ValueError: shapes do not fit, or y_true has NaN or impossible labels.
        """
        p = real_array("y_pred", y_pred)
        if p.size == 0 or p.ndim == 0:
            raise ValueError(f"y_pred must have at least one row, received shape {p.shape}")
        t = self._targets(y_true, p)
        if sample_weight is None and mask is None and self.ignore_class is None:
            values, d = self._terms_over(t, p) if overwrite else self._terms(t, p)
            scale = 1.0 / values.size
            d *= scale
        else:
            t, weights, share = self._weigh(t, p, sample_weight, mask)
            values, d = self._terms_over(t, p) if overwrite else self._terms(t, p)
            scale = 1.0 / (values.size * share) if share else 0.0
            values = values * weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
            d *= weights.reshape(weights.shape + (1,) * (d.ndim - weights.ndim)) * scale
        value = float(np.add.reduce(values, axis=None, dtype=np.float64)) * scale
        if value != value and np.isnan(t).any():
            raise ValueError("y_true has NaN labels")
        return value, d

    def known(self, y_true: Array) -> Array | None:
        """Which labels are there, as booleans of their shape; None: all of them."""
        return None

    def check(self, y_true: ArrayLike, shape: tuple[int, ...]) -> None:
        """Raises what `value_and_gradient` would for these labels and outputs of that shape."""
        p = np.broadcast_to(np.float32(0), shape)
        t = self._targets(y_true, p)
        if t.dtype.kind == "f" and np.isnan(t).any():
            raise ValueError("y_true has NaN labels")
        self._require_range(t)

    def _require_range(self, t: Array) -> None:
        """Raises ValueError for labels outside `label_range`; NaN is not looked for."""
        if self.label_range is None or not t.size:
            return
        low, high = self.label_range
        if np.minimum.reduce(t, axis=None) < low or np.maximum.reduce(t, axis=None) > high:
            wrong = t[(t < low) | (t > high)].flat[0]
            raise ValueError(f"y_true must hold labels in [{low:g}, {high:g}], received {wrong}")

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        """y_true as an array of p's shape and dtype."""
        return align("y_true", float_array("y_true", y_true, p.dtype), p.shape)

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        """The losses, of p's shape or without its last axis, and d sum(losses) / dp, writable."""
        raise NotImplementedError(f"{type(self).__name__} must define _terms")

    def _terms_over(self, t: Array, p: Array) -> tuple[Array, Array]:
        """The same, where d may be p."""
        return self._terms(t, p)

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


def vectors(p: Array) -> Array:
    """y_pred, of losses that reduce its last axis."""
    if p.ndim < 2:
        raise ValueError(f"y_pred: expected (B, F) or (B, T, F), got shape {p.shape}")
    return p
