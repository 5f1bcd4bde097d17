"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from .._arrays import share
from .._kernels import _optim
from .._serialize import register
from ..schedules import LearningRateSchedule
from .base import Array, Optimizer, Weights


@register("optimizer")
class SGD(Optimizer):
    """p -= lr g; with momentum v = momentum v - lr g, p += v, or with Nesterov's look ahead
    p += momentum v - lr g (Sutskever et al. 2013)."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.momentum = share("momentum", momentum)
        self.nesterov = bool(nesterov)
        if self.momentum:
            self.slot_names = ("velocity",)

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        if self.momentum:
            velocity = self.slots["velocity"]
            _optim.momentum(params, grads, velocity, rate, self.momentum, self.nesterov)
        else:
            _optim.sgd(params, grads, rate)
