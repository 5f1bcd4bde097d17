from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .._arrays import integer, number
from .base import Callback, rate_of


class LearningRateScheduler(Callback):
    """Sets the learning rate at the begin of each epoch.

    Args:
        schedule: a function of the epoch (from 0), or of it and the rate so far, that gives the
            rate, a positive number.
        verbose: 1 prints a line for each epoch.

    The optimizer's learning rate has to be a number: ValueError for a schedule. The logs get
    "learning_rate".
    """

    log_names = ("learning_rate",)

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function, got {type(schedule).__name__}")
        self.schedule = schedule
        self.verbose = integer("verbose", verbose)
        try:
            inspect.signature(schedule).bind(0, 0.1)
            self._reads_rate = True
        except (TypeError, ValueError):
            self._reads_rate = False

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        rate_of(self)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        arguments = (epoch, rate_of(self)) if self._reads_rate else (epoch,)
        rate = number("schedule", self.schedule(*arguments), above=0)
        self.model.optimizer.learning_rate = rate
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {rate}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = rate_of(self)
