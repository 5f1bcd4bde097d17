from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import numbers
from .._crf import crf_loss, read_tags
from .._serialize import register
from .base import Array
from .sequence import SequenceLoss


@register("loss", "crf")
class CRF(SequenceLoss):
    """-log p(tags) of a linear-chain conditional random field, the mean over the rows.

    y_true is (B, T): tags; whole numbers of any dtype, anything at masked steps. y_pred is (B, T,
    K, K), the log potentials that `layers.CRF` gives. sample_weight is (B,). A mask (B, T), of any
    pattern, takes steps out; a row without a step is not counted.

    Raises:
        ValueError: as `functional.crf_loss`; y_true has fractions.
    """

    def check(self, y_true: ArrayLike, shape: tuple[int, ...]) -> None:
        self._targets(y_true, np.broadcast_to(np.float32(0), shape))

    def _of_rows(self, t: Array, p: Array, keep: Array, order: Any) -> tuple[Array, Array]:
        tags = read_tags(t, keep, p.shape[2])
        return crf_loss(p, tags[order], lengths=keep.sum(axis=1))

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        """y_true (B, T) as whole numbers; what is none, such as NaN at a masked step, is -1."""
        if p.ndim != 4 or p.size == 0 or p.shape[2] != p.shape[3]:
            raise ValueError(f"y_pred must be (B, T, K, K), as layers.CRF gives it, received shape "
                             f"{p.shape}")  # fmt: skip
        t = numbers("y_true", y_true)
        if t.ndim == 3 and t.shape[2] == 1:
            t = t[:, :, 0]
        if t.shape != p.shape[:2]:
            raise ValueError(f"y_true must be {p.shape[:2]}, a tag for each step, received shape "
                             f"{t.shape}")  # fmt: skip
        if t.dtype.kind not in "iub" and (np.isfinite(t) & (t != np.floor(t))).any():
            raise ValueError("y_true must hold whole numbers, received others")
        return np.where(np.isfinite(t), t, -1).astype(np.int64)
