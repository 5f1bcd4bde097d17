"""Steps of one length."""

from __future__ import annotations

from typing import Any

from .._arrays import fraction, number
from .._kernels import _optim
from .._serialize import register
from ..schedules import LearningRateSchedule
from .base import Array, Optimizer, Weights


@register("optimizer")
class Lion(Optimizer):
    """p -= lr sign(beta_1 m + (1 - beta_1) g), m = beta_2 m + (1 - beta_2) g (Chen et al. 2023)."""

    slot_names = ("m",)

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = number("beta_1", beta_1, above=0, most=1)
        self.beta_2 = fraction("beta_2", beta_2)

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        _optim.lion(params, grads, self.slots["m"], rate, self.beta_1, self.beta_2)
