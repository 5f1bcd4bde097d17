from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import numbers, real_array
from .._serialize import get, register
from .base import Array, Loss, leading
from .crossentropy import SparseCategoricalCrossentropy
from .sequence import SequenceLoss


@register("loss")
class IgnoreMissing(Loss):
    """`loss` of the labels that are known: where a label is NaN, there is no loss and no gradient.

    The mean is over the known labels. A loss of whole vectors, such as the categorical
    crossentropy, leaves out those that have a NaN. Metrics see the steps, or rows, of which all
    labels are known.

    Args:
        loss: a loss whose labels are numbers, such as "mse" or `Quantile(...)`, or its name.

    Raises:
        TypeError: its labels are classes, which cannot be NaN.
    """

    def __init__(self, loss: Any):
        self.loss: Loss = get("loss", loss)
        if self.loss is None or isinstance(
            self.loss, (SequenceLoss, SparseCategoricalCrossentropy, IgnoreMissing)
        ):
            raise TypeError(f"loss: expected a loss whose labels are numbers, got {loss!r}")

    def known(self, y_true: Array) -> Array:
        """Which labels are there, as booleans of their shape."""
        known = ~np.isnan(y_true) if y_true.dtype.kind == "f" else np.ones(y_true.shape, bool)
        if self.loss.of_vectors:
            known = np.broadcast_to(known.all(axis=-1, keepdims=True), known.shape)
        return known

    def check(self, y_true: ArrayLike, shape: tuple[int, ...]) -> None:
        y = numbers("y_true", y_true)
        self.loss.check(np.where(self.known(y), y, 0), shape)

    def value_and_gradient(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None,
        mask: ArrayLike | None = None, overwrite: bool = False,
    ) -> tuple[float, Array]:  # fmt: skip
        """As of every loss."""
        p, y = real_array("y_pred", y_pred), numbers("y_true", y_true)
        if p.size == 0:
            raise ValueError(f"y_pred must have at least one row, received shape {p.shape}")
        known = self.known(y)
        t = self.loss._targets(np.where(known, y, 0), p)
        values, d = self.loss._terms(t, p)
        known = known.reshape(t.shape)
        lead = p.shape[:-1] or p.shape
        more = (1,) * (t.ndim - len(lead))
        if mask is not None:
            kept = leading("mask", mask, lead, np.bool_)
            known = known & kept.reshape(kept.shape + more)
        counted = np.broadcast_to(_repeated(known, values.shape), values.shape)
        weights = np.ones(1, p.dtype)
        if sample_weight is not None:
            given = leading("sample_weight", sample_weight, lead, p.dtype)
            weights = given.reshape(given.shape + more)
        scale = 1.0 / max(1, int(np.count_nonzero(counted)))
        lost = np.where(counted, values, 0) * _repeated(weights, values.shape)
        d = np.where(_repeated(known, d.shape), d, 0) * (weights * p.dtype.type(scale))
        return float(np.add.reduce(lost, axis=None, dtype=np.float64)) * scale, d


def _repeated(a: Array, shape: tuple[int, ...]) -> Array:
    """a (..., F), for each of the parameters of F labels, or for vectors without the last axis."""
    if a.ndim > len(shape):
        return a[..., 0]
    if a.shape[-1] not in (1, shape[-1]):
        return np.tile(a, shape[-1] // a.shape[-1])
    return a
