from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._serialize import register
from .base import EPSILON, Array, Loss, vectors


@register("loss", "kld", "KLD")
class KLDivergence(Loss):
    """sum_k t_k log(t_k / p_k) over the last axis, t and p clipped to [1e-7, 1].

    Gradient -t / p, and 0 where p was clipped.

    Raises:
        ValueError: labels outside [0, 1].
    """

    label_range = (0.0, 1.0)
    of_vectors = True

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        return super()._targets(y_true, vectors(p))

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        self._require_range(t)
        t, u = np.maximum(t, EPSILON), np.minimum(np.maximum(p, EPSILON), 1)
        d = t / u
        values = np.add.reduce(t * np.log(d), axis=-1)
        d *= u == p
        return values, np.negative(d, out=d)


@register("loss")
class Poisson(Loss):
    """p - t log(p + 1e-7) of counts t and their expectations p > 0, gradient 1 - t / (p + 1e-7).

    That is the negative log-likelihood up to log t!. Outputs below 0 have no logarithm: let the
    last layer's activation be "softplus" or "exponential".

    Raises:
        ValueError: labels below 0.
    """

    label_range = (0.0, np.inf)

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        self._require_range(t)
        above = p + EPSILON
        return p - t * np.log(above), 1 - t / above
