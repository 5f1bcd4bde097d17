"""Optimizers: Keras 3's names, arguments, defaults and update rules.

An optimizer sees a model as one flat array of parameters and one of gradients; a step is one pass
over both in C. t counts the steps from 1, g is the gradient after clipping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ._arrays import fraction, number, share
from ._kernels import _optim
from ._serialize import Configurable, register
from .schedules import LearningRateSchedule

Array = np.ndarray
Segments = Sequence[tuple[int, int]]


class Optimizer(Configurable):
    """Base of all optimizers.

    Args:
        learning_rate: a positive number, or a schedule of `clstm.schedules`.
        weight_decay: share of the parameters, times the learning rate, that each step takes away
            from them (decoupled, Loshchilov & Hutter 2019); None for none.
        clipnorm: each weight array's gradient is scaled down to this L2 norm.
        clipvalue: each gradient element is cut to -clipvalue .. clipvalue.
        global_clipnorm: the gradient as a whole is scaled down to this L2 norm.

    At most one of the three clippings may be given.
    """

    kind = "optimizer"
    slot_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ):
        self.learning_rate = learning_rate
        self.weight_decay = _optional("weight_decay", weight_decay)
        self.clipnorm = _optional("clipnorm", clipnorm)
        self.clipvalue = _optional("clipvalue", clipvalue)
        self.global_clipnorm = _optional("global_clipnorm", global_clipnorm)
        given = [n for n in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: expected None beside {given[0]}, got both")
        self.iterations = 0
        self.slots: dict[str, Array] = {}

    @property
    def learning_rate(self) -> float | LearningRateSchedule:
        """The number or the schedule."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | LearningRateSchedule) -> None:
        if not isinstance(value, LearningRateSchedule):
            value = number("learning_rate", value, above=0)
        self._learning_rate = value

    def current_learning_rate(self) -> float:
        """The number that the next step uses."""
        rate = self._learning_rate
        return float(rate(self.iterations)) if isinstance(rate, LearningRateSchedule) else rate

    def apply(self, grads: Array, params: Array, segments: Segments | None = None) -> None:
        """One step: change `params` (n,) in place by `grads` (n,), which may be scaled in place.

        segments: (begin, end) of each weight array, for clipnorm; None for one of all.
        """
        if not self.slots:
            self.start(params)
        for name, slot in self.slots.items():
            if slot.shape != params.shape or slot.dtype != params.dtype:
                raise ValueError(f"optimizer: expected a new one for these weights, got one whose "
                                 f"{name} has {slot.dtype} {slot.shape} for {params.dtype} "
                                 f"{params.shape}: compile the model again")  # fmt: skip
        if grads.shape != params.shape or grads.dtype != params.dtype:
            raise ValueError(f"grads: expected {params.dtype} {params.shape}, got {grads.dtype} "
                             f"{grads.shape}")  # fmt: skip
        self._clip(grads, segments or [(0, grads.size)])
        rate = self.current_learning_rate()
        if self.weight_decay:
            _optim.scale(params, 1 - rate * self.weight_decay)
        self._step(params, grads, rate)
        self.iterations += 1

    def start(self, params: Array) -> None:
        """Make the slots for parameters of this size, at their first values."""
        self.slots = {name: np.zeros_like(params) for name in self.slot_names}

    def _step(self, params: Array, grads: Array, rate: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _step")

    def _clip(self, grads: Array, segments: Segments) -> None:
        if self.clipvalue is not None:
            np.clip(grads, -self.clipvalue, self.clipvalue, out=grads)
        elif self.clipnorm is not None:
            for begin, end in segments:
                _shrink(grads[begin:end], self.clipnorm)
        elif self.global_clipnorm is not None:
            _shrink(grads, self.global_clipnorm)


def _shrink(grads: Array, limit: float) -> None:
    """Scale to the L2 norm `limit` what is longer."""
    norm = math.sqrt(float(np.square(grads, dtype=np.float64).sum()))
    if norm > limit:
        _optim.scale(grads, limit / norm)


def _optional(name: str, value: Any) -> float | None:
    return None if value is None or value is False else number(name, value, above=0)


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

    def _step(self, params: Array, grads: Array, rate: float) -> None:
        if self.momentum:
            velocity = self.slots["velocity"]
            _optim.momentum(params, grads, velocity, rate, self.momentum, self.nesterov)
        else:
            _optim.sgd(params, grads, rate)


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

    def _step(self, params: Array, grads: Array, rate: float) -> None:
        slots = self.slots
        _optim.rmsprop(params, grads, slots["square"], slots.get("mean"), slots.get("velocity"),
                       rate, self.rho, self.momentum, self.epsilon)  # fmt: skip


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

    def _step(self, params: Array, grads: Array, rate: float) -> None:
        _optim.adagrad(params, grads, self.slots["sum"], rate, self.epsilon)
