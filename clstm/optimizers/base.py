"""What all optimizers do: the learning rate, clipping, weight decay, their state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .._arrays import number
from .._kernels import _optim
from .._serialize import Configurable
from ..schedules import LearningRateSchedule

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
