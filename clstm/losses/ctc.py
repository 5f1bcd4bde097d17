from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import boolean, numbers, whole
from .._ctc import ctc_loss, read_labels
from .._serialize import register
from .base import Array
from .sequence import SequenceLoss


@register("loss")
class CTC(SequenceLoss):
    """Connectionist temporal classification (Graves et al. 2006), the mean over the rows.

    y_true is (B, L): class numbers, -1 past the end of a row; whole numbers of any dtype. y_pred
    is (B, T, K), logits. sample_weight is (B,). A mask (B, T), of any pattern, takes steps out; a
    row without a step, or False in a mask (B,), is not counted.

    Args:
        blank: the class of the blank. Default 0.
        zero_infinity: rows whose labels do not fit into their steps have the loss 0. Default
            False: they are an error.

    Raises:
        ValueError: as `functional.ctc_loss`; y_true has fractions.
    """

    def __init__(self, blank: int = 0, zero_infinity: bool = False) -> None:
        self.blank = whole("blank", blank)
        self.zero_infinity = boolean("zero_infinity", zero_infinity)

    def check(self, y_true: ArrayLike, shape: tuple[int, ...]) -> None:
        p = np.broadcast_to(np.float32(0), shape)
        read_labels(self._targets(y_true, p), None, p.shape, self.blank)

    def _of_rows(self, t: Array, p: Array, keep: Array, order: Any) -> tuple[Array, Array]:
        steps = keep.sum(axis=1)
        t = np.where(steps[:, None] > 0, t, -1)  # no labels where nothing counts
        return ctc_loss(p, t, logit_lengths=steps, blank=self.blank,
                        zero_infinity=self.zero_infinity)  # fmt: skip

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        """y_true as whole numbers (B, L)."""
        if p.ndim != 3 or p.size == 0:
            raise ValueError(f"y_pred must be (B, T, K), with something in it, received {p.shape}")
        t = numbers("y_true", y_true)
        if t.ndim == 3 and t.shape[2] == 1:
            t = t[:, :, 0]
        if t.ndim != 2 or len(t) != len(p):
            raise ValueError(f"y_true must be ({len(p)}, L), labels and -1 past their end, "
                             f"received shape {t.shape}")  # fmt: skip
        whole = t.astype(np.int64) if np.isfinite(t).all() else None
        if whole is None or not np.array_equal(whole, t):
            raise ValueError("y_true must hold whole numbers, received others")
        return whole
