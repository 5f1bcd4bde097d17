"""Adam and its kin: steps along a mean of the gradients, over what their size has been.

m += (1 - beta_1) (g - m) and, but in Adamax and Lion, v += (1 - beta_2) (g^2 - v).
"""

from __future__ import annotations

import math
from typing import Any

from .._arrays import fraction, number
from .._kernels import _optim
from .._serialize import register
from ..schedules import LearningRateSchedule
from .base import Array, Optimizer, Weights


@register("optimizer")
class Adam(Optimizer):
    """p -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon) (Kingma & Ba 2015);
    amsgrad: the largest v so far in place of v (Reddi et al. 2018)."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = fraction("beta_1", beta_1)
        self.beta_2 = fraction("beta_2", beta_2)
        self.epsilon = number("epsilon", epsilon, above=0)
        self.amsgrad = bool(amsgrad)
        self.slot_names = ("m", "v", "largest") if self.amsgrad else ("m", "v")

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        self._adam(params, grads, self.slots, rate)

    def _adam(self, params: Array, grads: Array, slots: dict[str, Array], rate: float) -> None:
        t = self.iterations + 1
        alpha = rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        _optim.adam(params, grads, slots["m"], slots["v"], slots.get("largest"), alpha, 0,
                    self.beta_1, self.beta_2, self.epsilon)  # fmt: skip


@register("optimizer")
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float | None = 0.004,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)


class _Moments(Optimizer):
    """What has Adam's arguments, but no amsgrad."""

    slot_names = ("m", "v")

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = fraction("beta_1", beta_1)
        self.beta_2 = fraction("beta_2", beta_2)
        self.epsilon = number("epsilon", epsilon, above=0)


@register("optimizer")
class Nadam(_Moments):
    """Adam with Nesterov's look ahead (Dozat 2016):
    p -= lr (u' m / (1 - U u') + (1 - u) g / (1 - U)) / (sqrt(v / (1 - beta_2^t)) + epsilon), with
    u = beta_1 (1 - 0.96^t / 2), u' that of t + 1, and U the product of all u so far."""

    _product = (0, 1.0)  # of so many u

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        t = self.iterations + 1
        u, following = self._momentum(t), self._momentum(t + 1)
        done, product = self._product if self._product[0] <= t else (0, 1.0)
        for k in range(done + 1, t + 1):
            product *= self._momentum(k)
        self._product = t, product
        scale = math.sqrt(1 - self.beta_2**t)
        _optim.adam(params, grads, self.slots["m"], self.slots["v"], None,
                    rate * scale * following / (1 - product * following),
                    rate * scale * (1 - u) / (1 - product),
                    self.beta_1, self.beta_2, self.epsilon * scale)  # fmt: skip

    def _momentum(self, t: int) -> float:
        return self.beta_1 * (1 - 0.5 * 0.96**t)


@register("optimizer")
class RAdam(_Moments):
    """Adam whose step is rectified for how few gradients v knows (Liu et al. 2020), as PyTorch
    writes it: with r = 2 / (1 - beta_2) - 1 and s = r - 2 t beta_2^t / (1 - beta_2^t), Adam's step
    times sqrt((s - 4) (s - 2) r / ((r - 4) (r - 2) s)) where s > 5; before,
    p -= lr m / (1 - beta_1^t)."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        t = self.iterations + 1
        m = self.slots["m"]
        rate /= 1 - self.beta_1**t
        rest = 1 - self.beta_2**t
        r = 2 / (1 - self.beta_2) - 1
        s = r - 2 * t * self.beta_2**t / rest
        alpha = 0.0
        if s > 5:
            alpha = math.sqrt((s - 4) * (s - 2) * r / ((r - 4) * (r - 2) * s) * rest)
        _optim.adam(params, grads, m, self.slots["v"], None, rate * alpha, 0, self.beta_1,
                    self.beta_2, self.epsilon)  # fmt: skip
        if s <= 5:
            _optim.sgd(params, m, rate)


@register("optimizer")
class Adamax(_Moments):
    """u = max(beta_2 u, |g|), p -= lr / (1 - beta_1^t) m / (u + epsilon) (Kingma & Ba 2015)."""

    slot_names = ("m", "u")

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        alpha = rate / (1 - self.beta_1 ** (self.iterations + 1))
        _optim.adamax(params, grads, self.slots["m"], self.slots["u"], alpha, self.beta_1,
                      self.beta_2, self.epsilon)  # fmt: skip
