"""Steps along the gradient over the root of what its square has been: RMSprop, Adagrad
and Adadelta."""

from __future__ import annotations

from typing import Any

from .._arrays import number, share
from .._kernels import _optim
from .._serialize import register
from ..schedules import LearningRateSchedule
from .base import Array, Optimizer, Weights


@register("optimizer")
class RMSprop(Optimizer):
    """s = rho s + (1 - rho) g^2, p -= lr g / sqrt(s + epsilon) (Hinton's lecture 6e, 2012);
    centered: s less the squared mean gradient; momentum: of the steps."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho = share("rho", rho)
        self.momentum = share("momentum", momentum)
        self.epsilon = number("epsilon", epsilon, above=0)
        self.centered = bool(centered)
        self.slot_names = ("square", *(["mean"] if self.centered else []),
                           *(["velocity"] if self.momentum else []))  # fmt: skip

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        slots = self.slots
        _optim.rmsprop(params, grads, slots["square"], slots.get("mean"), slots.get("velocity"),
                       rate, self.rho, self.momentum, self.epsilon)  # fmt: skip


@register("optimizer")
class Adagrad(Optimizer):
    """s += g^2, p -= lr g / sqrt(s + epsilon) (Duchi et al. 2011)."""

    slot_names = ("sum",)

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.initial_accumulator_value = number(
            "initial_accumulator_value", initial_accumulator_value, least=0
        )
        self.epsilon = number("epsilon", epsilon, above=0)

    def start(self, params: Array) -> None:
        super().start(params)
        self.slots["sum"].fill(self.initial_accumulator_value)

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        _optim.adagrad(params, grads, self.slots["sum"], rate, self.epsilon)


@register("optimizer")
class Adadelta(Optimizer):
    """s = rho s + (1 - rho) g^2, d = sqrt(e + epsilon) / sqrt(s + epsilon) g, p -= lr d,
    e = rho e + (1 - rho) d^2 (Zeiler 2012)."""

    slot_names = ("square", "delta")

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho = share("rho", rho)
        self.epsilon = number("epsilon", epsilon, above=0)

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        _optim.adadelta(params, grads, self.slots["square"], self.slots["delta"], rate, self.rho,
                        self.epsilon)  # fmt: skip
