from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._crf import best_tags_of, read_potentials
from .._serialize import register
from ..losses.base import leading
from .base import Mean


@register("metric", "crf_accuracy")
class CRFAccuracy(Mean):
    """The share of steps whose tag is that of the most probable path (Viterbi).

    y_true (B, T): tags; y_pred (B, T, K, K): log potentials of `layers.CRF`. Steps of weight 0,
    such as masked ones, are not part of the path.
    """

    better = "max"

    def update_state(  # type: ignore[override]
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        potentials, _ = read_potentials(y_pred, None)
        shape = potentials.shape[:2]
        tags = np.asarray(y_true).reshape(shape)
        weights = np.ones(shape)
        if sample_weight is not None:
            weights = weights * leading("sample_weight", sample_weight, shape, np.float64)
        self._add(best_tags_of(potentials, weights != 0)[0] == tags, weights)
