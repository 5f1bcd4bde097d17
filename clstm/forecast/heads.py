"""What a network gives of each step, and what that says about the interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..losses import GaussianNLL, MeanSquaredError, Quantile, StudentTNLL

Array = np.ndarray
HEADS = ("quantiles", "gaussian", "student_t", "point")


class Head(NamedTuple):
    """count: numbers for each quantity. loss: of them. read: of outputs (..., count D) the lower
    end, the middle and the upper end, (..., D) each."""

    count: int
    loss: Any
    read: Callable[[Array], list[Array]]


def get(name: str, interval: float) -> Head:
    """The Head of that name; ValueError if there is none."""
    tail = (1 - interval) / 2
    if name == "quantiles":
        return Head(3, Quantile([tail, 0.5, 1 - tail]), lambda p: np.split(p, 3, axis=-1))
    if name == "point":
        return Head(1, MeanSquaredError(), lambda p: [p, p, p])
    if name == "gaussian":
        from scipy.special import ndtri

        return _location_scale(GaussianNLL(), float(ndtri(1 - tail)))
    if name == "student_t":
        from scipy.special import stdtrit

        loss = StudentTNLL()
        return _location_scale(loss, float(stdtrit(loss.df, 1 - tail)))
    raise ValueError(f"outputs: expected one of {HEADS}, got {name!r}")


def _location_scale(loss: Any, width: float) -> Head:
    """width: of half the interval, for a scale of 1."""

    def read(p: Array) -> list[Array]:
        middle, scale = loss.parameters(p)
        return [middle - width * scale, middle, middle + width * scale]

    return Head(2, loss, read)
