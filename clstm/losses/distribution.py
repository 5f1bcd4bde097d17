"""Losses of outputs that describe a distribution of each label.

With F labels and P parameters, y_true is (B, F) or (B, T, F) and y_pred's last dimension is P F:
the first parameter of all labels, then the second, and so on. A Dense(P) fits one label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import float_array, number, one_or_more, real_array
from .._serialize import register
from ..activations import sigmoid, softplus
from .base import Array, Loss, align


class _DistributionLoss(Loss):
    """Base of the losses whose outputs are several parameters of each label."""

    _count: int  # P

    def _split(self, p: Array) -> Array:
        """(..., P F) as (..., P, F)."""
        n = self._count
        if p.ndim < 2 or p.shape[-1] % n:
            raise ValueError(f"y_pred: expected (B, {n} F) or (B, T, {n} F), {n} parameters for "
                             f"each of F labels, got shape {p.shape}")  # fmt: skip
        return p.reshape(*p.shape[:-1], n, p.shape[-1] // n)

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        shape = self._split(p).shape
        return align("y_true", float_array("y_true", y_true, p.dtype), shape[:-2] + shape[-1:])


@register("loss", "pinball")
class Quantile(_DistributionLoss):
    """max(q e, (q - 1) e) of e = t - p, the mean over all labels and quantiles: Koenker 1978.

    y_pred has the quantiles one after another. The gradient is -q where e > 0, 1 - q where e < 0
    and 1/2 - q at 0.

    Args:
        quantiles: float or list of floats, each > 0 and < 1. Default (0.1, 0.5, 0.9).

    Raises:
        ValueError: quantiles are none of these.
    """

    def __init__(self, quantiles: float | Sequence[float] = (0.1, 0.5, 0.9)) -> None:
        found = one_or_more("quantiles", quantiles, above=0, below=1)
        self.quantiles = found if isinstance(found, list) else [found]
        self._count = len(self.quantiles)

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        q = np.array(self.quantiles, p.dtype)[:, None]
        e = t[..., None, :] - self._split(p)
        values = np.maximum(q * e, (q - 1) * e)
        d = 0.5 - q - 0.5 * np.sign(e)
        return values.reshape(p.shape), d.reshape(p.shape)


class _LocationScaleLoss(_DistributionLoss):
    """-log of the density f((t - m) / s) / s, of which `_standard` gives -log f.

    y_pred holds m of all labels, then r, and s = softplus(r) + min_scale: s grows linearly with r,
    where exp(r) would overflow, and stays so far from 0 that nothing overflows there.
    """

    _count = 2

    def __init__(self, min_scale: float = 1e-6) -> None:
        self.min_scale = number("min_scale", min_scale, above=0)

    def parameters(self, y_pred: ArrayLike) -> tuple[Array, Array]:
        """The means m and the scales s > 0, (B, F) or (B, T, F) each, that outputs stand for."""
        parts = self._split(real_array("y_pred", y_pred))
        return parts[..., 0, :], softplus(parts[..., 1, :]) + self.min_scale

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        mean, scale = self.parameters(p)
        z = (mean - t) / scale
        values, dz = self._standard(z)
        values += np.log(scale)
        d = np.empty_like(p)
        parts = self._split(d)
        parts[..., 0, :] = dz / scale
        parts[..., 1, :] = (1 - z * dz) / scale * sigmoid(self._split(p)[..., 1, :])
        return values, d

    def _standard(self, z: Array) -> tuple[Array, Array]:
        """-log f(z), f even, and its derivative."""
        raise NotImplementedError


@register("loss")
class GaussianNLL(_LocationScaleLoss):
    """log s + ((t - m) / s)^2 / 2 + log(2 pi) / 2: -log of the normal density of mean m.

    y_pred holds m of all labels, then r, and the standard deviation is s = softplus(r) + min_scale;
    `parameters(y_pred)` gives both.

    Args:
        min_scale: float > 0. Default 1e-6.

    Raises:
        ValueError: min_scale <= 0.
    """

    def _standard(self, z: Array) -> tuple[Array, Array]:
        return 0.5 * z * z + 0.5 * math.log(2 * math.pi), z


@register("loss", "student_t_nll")
class StudentTNLL(_LocationScaleLoss):
    """-log of Student's t density of df degrees of freedom, with the location m and the scale s.

    With z = (t - m) / s: log s + (df + 1) / 2 log(1 + z^2 / df) + log(df pi) / 2
    + log Gamma(df / 2) - log Gamma((df + 1) / 2). Outliers pull less than on `GaussianNLL`, its
    limit for large df. y_pred as there.

    Args:
        df: float > 0. Default 4.
        min_scale: float > 0. Default 1e-6.

    Raises:
        ValueError: an argument is <= 0.
    """

    def __init__(self, df: float = 4.0, min_scale: float = 1e-6) -> None:
        super().__init__(min_scale)
        self.df = number("df", df, above=0)

    def _standard(self, z: Array) -> tuple[Array, Array]:
        n = self.df
        constant = 0.5 * math.log(n * math.pi) + math.lgamma(n / 2) - math.lgamma((n + 1) / 2)
        return 0.5 * (n + 1) * np.log1p(z * z / n) + constant, (n + 1) * z / (n + z * z)
