"""Penalties on weights, added to the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _serialize
from ._arrays import number
from ._serialize import Configurable, alias, register


class Regularizer(Configurable):
    """Base of all penalties: `reg(w)` is the penalty, `reg.add_gradient(w, grad)` its gradient."""

    kind = "regularizer"

    def __call__(self, w: NDArray[Any]) -> float:
        """Returns the penalty of `w` (any shape, float32 or float64), summed in float64."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def add_gradient(self, w: NDArray[Any], grad: NDArray[Any]) -> None:
        """Adds d penalty / d w to `grad`, in place; `grad` has the shape and dtype of `w`."""
        raise NotImplementedError(f"{type(self).__name__} must define add_gradient")


@register("regularizer")
class L1L2(Regularizer):
    """l1 * sum(|w|) + l2 * sum(w^2).

    The strings "l1_l2", "l1l2" and "L1L2" stand for `L1L2(l1=0.01, l2=0.01)`.

    Args:
        l1: factor >= 0 of the absolute values. Default 0.
        l2: factor >= 0 of the squares. Default 0.

    Raises:
        TypeError: a factor is not a number.
        ValueError: a factor is negative or not finite.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = number("l1", l1, least=0)
        self.l2 = number("l2", l2, least=0)

    def __call__(self, w: NDArray[Any]) -> float:
        penalty = 0.0
        if self.l1:
            penalty += self.l1 * float(np.abs(w).sum(dtype=np.float64))
        if self.l2:
            penalty += self.l2 * float(np.square(w).sum(dtype=np.float64))
        return penalty

    def add_gradient(self, w: NDArray[Any], grad: NDArray[Any]) -> None:
        # d|w|/dw = sign(w), 0 at 0; d(w^2)/dw = 2 w.
        if self.l1:
            grad += self.l1 * np.sign(w)
        if self.l2:
            grad += (2.0 * self.l2) * w


@register("regularizer")
class L1(L1L2):
    """l1 * sum(|w|).

    Args:
        l1: factor >= 0. Default 0.01.

    Raises:
        TypeError, ValueError: as `L1L2`.
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


@register("regularizer")
class L2(L1L2):
    """l2 * sum(w^2).

    Args:
        l2: factor >= 0. Default 0.01.

    Raises:
        TypeError, ValueError: as `L1L2`.
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


for _name in ("l1_l2", "l1l2", "L1L2"):
    alias("regularizer", _name, L1L2, l1=0.01, l2=0.01)


def get(identifier: Any) -> Regularizer | None:
    """Returns the regularizer for None, a name ("l2"), a config dict or an instance.

    Raises:
        ValueError: unknown name or malformed dict.
        TypeError: any other type.
    """
    return _serialize.get("regularizer", identifier)
