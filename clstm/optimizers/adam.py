"""Adam and its kin."""

from __future__ import annotations

import math
from typing import Any

from .._arrays import fraction, number
from .._kernels import _optim
from .._serialize import register
from ..schedules import LearningRateSchedule
from .base import Array, Optimizer


@register("optimizer")
class Adam(Optimizer):
    """m += (1 - beta_1) (g - m), v += (1 - beta_2) (g^2 - v),
    p -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon) (Kingma & Ba 2015);
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

    def _step(self, params: Array, grads: Array, rate: float) -> None:
        t = self.iterations + 1
        alpha = rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        slots = self.slots
        _optim.adam(params, grads, slots["m"], slots["v"], slots.get("largest"), alpha,
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
