"""Stochastic gradient descent that ends with an average of its weights."""

from __future__ import annotations

import math
import sys
from typing import Any

from .._arrays import number, positive, whole
from .._kernels import _optim
from .._serialize import register
from ..schedules import LearningRateSchedule
from .base import Array, Optimizer, Weights


@register("optimizer")
class NTASGD(Optimizer):
    """SGD, p -= lr g, that averages its weights once the validation no longer improves:
    non-monotonically triggered averaged SGD (Merity et al. 2018).

    `fit`, which needs validation data, tells it each validation loss. The first one above the best
    of all but the `patience` before it begins slot "average", the mean of the weights from then on,
    and `fit` ends with the average as the weights. Validations are of the weights, not the average.

    Args:
        learning_rate: as of any optimizer. Default 0.01; the paper has 30 with clipping by norm.
        patience: the paper's n, at least 1. Default 5.
    """

    slot_names = ("average",)
    watches_validation = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        patience: int = 5,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        if self.use_ema:
            raise ValueError("use_ema: expected False for NTASGD, which averages itself, got True")
        self.patience = positive("patience", patience)
        self.losses: list[float] = []  # of the validations up to the trigger
        self.averaged: int | None = None  # weights in the average; None: not triggered

    def observe(self, loss: float) -> None:
        """Take the loss of a validation. NaN and infinity are no improvement."""
        if self.averaged is None:
            loss = float(loss) if math.isfinite(loss) else sys.float_info.max
            if loss > min(self.losses[: -self.patience], default=math.inf):
                self.averaged = 0
            self.losses.append(loss)

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        average = self.slots["average"]
        if self.averaged == 0:  # the weights of the trigger
            average[...] = params
            self.averaged = 1
        _optim.sgd(params, grads, rate)
        if self.averaged is not None:
            self.averaged += 1
            _optim.average(average, params, 1 / self.averaged)

    def finalize_variable_values(self, params: Array) -> None:
        if self.averaged:
            params[...] = self.slots["average"]

    def get_state(self) -> dict[str, Any]:
        return super().get_state() | {"losses": self.losses, "averaged": self.averaged}

    def set_state(self, state: dict[str, Any]) -> None:
        losses, averaged = state.get("losses", self.losses), state.get("averaged", self.averaged)
        if not isinstance(losses, list):
            raise TypeError(f"losses: expected a list, got {type(losses).__name__}")
        losses = [number(f"losses[{k}]", loss) for k, loss in enumerate(losses)]
        averaged = None if averaged is None else whole("averaged", averaged)
        super().set_state(state)
        self.losses, self.averaged = losses, averaged
