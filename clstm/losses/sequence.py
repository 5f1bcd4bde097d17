from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import real_array, valid_first
from .base import Array, Loss, leading


class SequenceLoss(Loss):
    """Base of the losses that a row's steps have together: the mean over the rows.

    A mask (B, T), of any pattern, takes steps out; a row without a step is not counted.
    A subclass defines `_targets` and `_of_rows`.
    """

    def value_and_gradient(  # type: ignore[override]
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        sample_weight: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> tuple[float, Array]:
        p = real_array("y_pred", y_pred)
        t = self._targets(y_true, p)
        keep = np.ones(p.shape[:2], bool)
        if mask is not None:
            keep &= leading("mask", mask, p.shape[:2], np.bool_)
        steps = keep.sum(axis=1)
        weights = (steps > 0).astype(np.float64)
        scale = 1.0 / max(1.0, weights.sum())
        if sample_weight is not None:
            weights *= leading("sample_weight", sample_weight, p.shape[:1], np.float64)
        order = valid_first(keep)
        moved = not (np.arange(p.shape[1]) == order[1]).all()
        losses, d = self._of_rows(t, p[order] if moved else p, keep, order)
        if moved:
            back = np.empty_like(d)
            back[order] = d
            d = back
        d *= (weights * scale).astype(d.dtype).reshape(-1, *[1] * (d.ndim - 1))
        return float(np.add.reduce(losses * weights)) * scale, d

    def _of_rows(self, t: Array, p: Array, keep: Array, order: Any) -> tuple[Array, Array]:
        """The losses (B,) of outputs p whose valid steps come first, and d sum(losses) / dp.

        keep: (B, T) the valid steps before they were moved; order: the index that moved them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define _of_rows")
