"""Penalties on weights, or on the outputs of a layer, added to the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _serialize
from ._arrays import number
from ._serialize import Configurable, alias, register
from .functional import backend_module

_EPSILON = 1e-7  # Keras's least squared norm: a vector of zeros stays one


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


@register("regularizer")
class OrthogonalRegularizer(Regularizer):
    """factor * the mean of |cosine| over all pairs of vectors of a matrix.

    n_r = w_r / sqrt(max(|w_r|^2, 1e-7));  factor / pairs * sum_{r < s} |n_r . n_s|

    Args:
        factor: >= 0. Default 0.01.
        mode: whether the vectors are the "rows" or the "columns". Default "rows".

    Raises:
        TypeError: factor is not a number.
        ValueError: factor is negative or not finite, mode is another word, or, when it is used,
            the weights are no matrix.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = number("factor", factor, least=0)
        if mode not in ("rows", "columns"):
            raise ValueError(f"mode: expected 'rows' or 'columns', got {mode!r}")
        self.mode = mode

    def __call__(self, w: NDArray[Any]) -> float:
        cosines = self._cosines(w)[2]
        # each pair stands twice
        return self.factor / _pairs(cosines) / 2 * float(np.abs(cosines).sum(dtype=np.float64))

    def add_gradient(self, w: NDArray[Any], grad: NDArray[Any]) -> None:
        # dn = factor / pairs * sign(n n^T) n;  dw = (dn - n (n . dn)) / |w|, dn / 1e-3.5 below
        n, squares, cosines = self._cosines(w)
        dn = _matmul(np.sign(cosines), n)
        along = (n * dn).sum(axis=1, keepdims=True)
        dn -= np.where(squares > _EPSILON, n * along, 0)
        dn *= self.factor / _pairs(cosines) / np.sqrt(np.maximum(squares, _EPSILON))
        grad += dn if self.mode == "rows" else dn.T

    def _cosines(self, w: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """n (N, D), |w_r|^2 (N, 1), and n n^T (N, N) with a diagonal of 0."""
        if w.ndim != 2:
            raise ValueError(f"w of OrthogonalRegularizer: expected a matrix, got shape {w.shape}")
        vectors = w if self.mode == "rows" else w.T
        squares = np.square(vectors).sum(axis=1, keepdims=True)
        n = np.ascontiguousarray(vectors / np.sqrt(np.maximum(squares, _EPSILON)))
        cosines = _matmul(n, n, transpose_b=True)
        np.fill_diagonal(cosines, 0)
        return n, squares, cosines


@register("regularizer")
class TemporalL2(Regularizer):
    """l2 * sum over t of |y_t - y_{t-1}|^2, for outputs y (B, T, features): slowly changing ones.

    The temporal activation regularization of Merity et al. 2017 (arXiv 1708.02182), as the
    activity_regularizer of an LSTM; their activation regularization, of what dropout leaves, is
    `Dropout(rate, activity_regularizer=L2(...))`. Their factors are of means over steps and
    features, those here of sums: divide them by T times the features.

    Steps that a mask leaves out count as the zeros that they are.

    Args:
        l2: factor >= 0. Default 0.01.

    Raises:
        TypeError: l2 is not a number.
        ValueError: l2 is negative or not finite, or, when it is used, the outputs have no steps.
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = number("l2", l2, least=0)

    def __call__(self, w: NDArray[Any]) -> float:
        return self.l2 * float(np.square(_changes(w)).sum(dtype=np.float64))

    def add_gradient(self, w: NDArray[Any], grad: NDArray[Any]) -> None:
        d = (2.0 * self.l2) * _changes(w)
        grad[:, 1:] += d
        grad[:, :-1] -= d


def get(identifier: Any) -> Regularizer | None:
    """Returns the regularizer for None, a name ("l2"), a config dict or an instance.

    Raises:
        ValueError: unknown name or malformed dict.
        TypeError: any other type.
    """
    return _serialize.get("regularizer", identifier)


def _pairs(cosines: NDArray[Any]) -> float:
    """Number of pairs of N vectors; 1 where there are none, whose sum is 0."""
    return max(len(cosines) * (len(cosines) - 1) / 2, 1)


def _matmul(a: NDArray[Any], b: NDArray[Any], transpose_b: bool = False) -> NDArray[Any]:
    """a b, or a b^T, by the backend in use."""
    out = np.empty((len(a), b.shape[0 if transpose_b else 1]), a.dtype)
    backend_module(None, a.dtype).matmul(a, b, out, transpose_b=transpose_b)
    return out


def _changes(y: NDArray[Any]) -> NDArray[Any]:
    """y_t - y_{t-1} (B, T - 1, features)."""
    if y.ndim != 3:
        raise ValueError("outputs under TemporalL2: expected shape (B, T, features), as of "
                         f"return_sequences=True, got {y.shape}")  # fmt: skip
    return y[:, 1:] - y[:, :-1]
