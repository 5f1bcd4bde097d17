"""Projections of weights, applied after each optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _serialize
from ._arrays import number, share
from ._serialize import Configurable, register

_EPSILON = 1e-7  # Keras's fuzz: keeps a division by a norm of 0 finite


class Constraint(Configurable):
    """Base of all projections: `con(w)` returns the projected weights."""

    kind = "constraint"

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        """Returns `w` projected: a new array of the same shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")


@register("constraint")
class MinMaxNorm(Constraint):
    """Moves the norms of vectors into [min_value, max_value].

    norm = sqrt(sum(w^2, axis));
    w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (1e-7 + norm)

    Args:
        min_value: smallest norm. Default 0.
        max_value: largest norm. Default 1.
        rate: share of the way that one call moves a norm, in [0, 1]. Default 1.
        axis: int or ints, the axes that form one vector. Default 0: each column of a
            (inputs, units) matrix, the weights into one unit.

    Raises:
        ValueError: not 0 <= min_value <= max_value, or rate outside [0, 1].
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
    ) -> None:
        min_value = number("min_value", min_value, least=0)
        max_value = number("max_value", max_value, least=min_value)
        self.min_value = min_value
        self.max_value = max_value
        self.rate = share("rate", rate)
        self.axis = axis

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        norms = _norms(w, self.axis)
        clipped = np.minimum(np.maximum(norms, self.min_value), self.max_value)
        wanted = self.rate * clipped + (1.0 - self.rate) * norms
        return w * (wanted / (norms + _EPSILON))


@register("constraint")
class MaxNorm(Constraint):
    """Shortens vectors whose norm exceeds max_value.

    w * min(norm, max_value) / (1e-7 + norm), norm = sqrt(sum(w^2, axis))

    Args:
        max_value: largest norm, >= 0. Default 2.
        axis: as in `MinMaxNorm`. Default 0.

    Raises:
        ValueError: max_value < 0.
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0) -> None:
        self.max_value = number("max_value", max_value, least=0)
        self.axis = axis

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        norms = _norms(w, self.axis)
        return w * (np.minimum(norms, self.max_value) / (norms + _EPSILON))


@register("constraint")
class UnitNorm(Constraint):
    """Gives vectors the norm 1: w / (1e-7 + sqrt(sum(w^2, axis))).

    Args:
        axis: as in `MinMaxNorm`. Default 0.
    """

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        self.axis = axis

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        return w / (_norms(w, self.axis) + _EPSILON)


@register("constraint")
class NonNeg(Constraint):
    """max(w, 0)."""

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        return np.maximum(w, 0)


def get(identifier: Any) -> Constraint | None:
    """Returns the constraint for None, a name ("max_norm"), a config dict or an instance.

    Raises:
        ValueError: unknown name or malformed dict.
        TypeError: any other type.
    """
    return _serialize.get("constraint", identifier)


def _norms(w: NDArray[Any], axis: int | Sequence[int]) -> NDArray[Any]:
    """Euclidean norms along `axis`, which is kept with length 1."""
    axes = tuple(axis) if isinstance(axis, Sequence) else axis
    return np.sqrt(np.square(w).sum(axis=axes, keepdims=True))
