from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import number, one_or_more, share
from .._serialize import register
from ..activations import log_softmax, sigmoid
from .base import EPSILON, Array
from .crossentropy import BinaryCrossentropy, CategoricalCrossentropy


@register("loss")
class BinaryFocalCrossentropy(BinaryCrossentropy):
    """m^gamma times the binary crossentropy; m = t (1 - p) + (1 - t) p: Lin et al. 2017.

    Logits are not clipped as Keras clips their probabilities: losses of |z| > 16 grow on, and have
    a gradient.

    Args:
        apply_class_balancing: factors alpha for the labels 1 and 1 - alpha for 0. Default False.
        alpha: in [0, 1]. Default 0.25.
        gamma: float >= 0; 0 is the crossentropy. Default 2.
        from_logits: y_pred are logits. Default False.
        label_smoothing: s in [0, 1], labels become t (1 - s) + s / 2. Default 0.

    Raises:
        ValueError: an argument is none of these; labels outside [0, 1].
    """

    def __init__(
        self, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0,
        from_logits: bool = False, label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(from_logits, label_smoothing)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha = share("alpha", alpha)
        self.gamma = number("gamma", gamma, least=0)

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        values, d = super()._terms(t, p)
        t = self._smoothed(t, 2)
        if self.from_logits:
            p, complement = sigmoid(p), sigmoid(-p)
            slope = (1 - 2 * t) * p * complement
        else:
            complement = 1 - p
            slope = 1 - 2 * t
        factor, d_factor = _modulation(t * complement + (1 - t) * p, self.gamma)
        if self.apply_class_balancing:
            balance = t * self.alpha + (1 - t) * (1 - self.alpha)
            factor *= balance
            d_factor *= balance
        d *= factor
        d += d_factor * slope * values
        values *= factor
        return values, d


@register("loss")
class CategoricalFocalCrossentropy(CategoricalCrossentropy):
    """-sum_k alpha_k (1 - u_k)^gamma t_k log u_k over the last axis: Lin et al. 2017.

    u = p / sum(p), clipped as by `CategoricalCrossentropy`, or softmax(z) of logits, which are not
    clipped as Keras clips them. With h_k = u_k dL/du_k: dL/dz_j = h_j - u_j sum_k h_k.

    Args:
        alpha: float >= 0, or a list of C of them, the factors of the classes. Default 0.25.
        gamma: float >= 0. Default 2.
        from_logits: y_pred are logits. Default False.
        label_smoothing: s in [0, 1], labels become t (1 - s) + s / C. Default 0.

    Raises:
        ValueError: an argument is none of these; labels outside [0, 1].
    """

    label_range = (0.0, 1.0)

    def __init__(
        self, alpha: float | Sequence[float] = 0.25, gamma: float = 2.0,
        from_logits: bool = False, label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(from_logits, label_smoothing)
        self.alpha = one_or_more("alpha", alpha, least=0)
        self.gamma = number("gamma", gamma, least=0)

    def _targets(self, y_true: ArrayLike, p: Array) -> Array:
        t = super()._targets(y_true, p)
        if np.shape(self.alpha) not in ((), p.shape[-1:]):
            raise ValueError(f"alpha: expected {p.shape[-1]} numbers, one per class of y_pred, got "
                             f"{np.size(self.alpha)}")  # fmt: skip
        return t

    def _terms(self, t: Array, p: Array) -> tuple[Array, Array]:
        self._require_range(t)
        weights = np.asarray(self.alpha, p.dtype) * self._smoothed(t, p.shape[-1])
        if self.from_logits:
            logs = log_softmax(p)
            u = np.exp(logs)
        else:
            total = np.add.reduce(p, axis=-1, keepdims=True)
            n = p / total
            u = np.minimum(np.maximum(n, EPSILON), 1.0 - EPSILON)
            logs = np.log(u)
        factor, d_factor = _modulation(1 - u, self.gamma)
        values = -np.add.reduce(weights * factor * logs, axis=-1)
        d = weights * (d_factor * u * logs - factor)  # h
        if self.from_logits:
            d -= u * np.add.reduce(d, axis=-1, keepdims=True)
            return values, d
        d *= u == n
        h = np.add.reduce(d, axis=-1, keepdims=True)
        d /= u
        d -= h
        d /= total
        return values, d


def _modulation(m: Array, gamma: float) -> tuple[Array, Array]:
    """m^gamma and its derivative, which is bounded at 0 also for gamma < 1."""
    return m**gamma, gamma * np.maximum(m, EPSILON) ** (gamma - 1)
