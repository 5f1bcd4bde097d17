"""Losses, each with its gradient.

A loss is the mean over all elements that its own reduction (over the last axis) leaves, with Keras
3's rules: `sample_weight` multiplies and leaves the divisor as it is, `mask` takes elements out of
the sum and of the divisor. Sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _serialize
from .base import Loss
from .crf import CRF
from .crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from .ctc import CTC
from .distribution import GaussianNLL, Quantile, StudentTNLL
from .focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from .missing import IgnoreMissing
from .probabilistic import KLDivergence, Poisson
from .regression import CosineSimilarity, Huber, LogCosh, MeanAbsoluteError, MeanSquaredError

__all__ = [
    "CRF", "CTC", "BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy", "CosineSimilarity", "GaussianNLL", "Huber", "IgnoreMissing",
    "KLDivergence", "LogCosh", "Loss", "MeanAbsoluteError", "MeanSquaredError", "Poisson",
    "Quantile", "SparseCategoricalCrossentropy", "StudentTNLL", "get", "resolve", "task",
]  # fmt: skip


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
