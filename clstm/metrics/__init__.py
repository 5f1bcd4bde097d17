"""Metrics, accumulated over batches in float64.

Values, weights and names follow Keras 3. A metric knows no masks: the caller multiplies
`sample_weight` by the mask.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from .. import _serialize
from ..losses import task
from .auc import AUC
from .base import Mean, Metric
from .confusion import ConfusionMatrix
from .crf import CRFAccuracy
from .f_score import F1Score, FBetaScore
from .forecast import (
    Coverage,
    MeanAbsolutePercentageError,
    MeanAbsoluteScaledError,
    SymmetricMeanAbsolutePercentageError,
    naive_error,
)
from .perplexity import Perplexity
from .pointwise import (
    BinaryAccuracy,
    CategoricalAccuracy,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalAccuracy,
)
from .precision_recall import Precision, Recall
from .r2 import R2Score
from .top_k import SparseTopKCategoricalAccuracy, TopKCategoricalAccuracy

__all__ = [
    "AUC", "BinaryAccuracy", "CRFAccuracy", "CategoricalAccuracy", "ConfusionMatrix", "Coverage",
    "F1Score", "FBetaScore", "Mean", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanAbsoluteScaledError", "MeanSquaredError", "Metric", "Perplexity", "Precision", "R2Score",
    "Recall", "SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy",
    "SymmetricMeanAbsolutePercentageError", "TopKCategoricalAccuracy", "get", "naive_error",
    "resolve",
]  # fmt: skip


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
