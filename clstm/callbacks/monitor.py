"""What watches one quantity of the logs: when it gets better, and when it does not."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import boolean, integer, number, whole
from .base import Callback, rate_of


class Monitor(Callback):
    """Base of the callbacks that watch a quantity.

    Args:
        monitor: a name in the logs, such as "val_loss" or "accuracy".
        mode: "min" or "max": what is better; "auto": as the metric of that name has it.
        min_delta: a change by less is none.

    Raises:
        ValueError: an argument is none of these; from `fit`, before any step: there is no such
            quantity, or "auto" cannot know. At the end of an epoch: it is an array.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        if not isinstance(monitor, str):
            raise TypeError(f"monitor: expected a name, got {type(monitor).__name__}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode: expected 'auto', 'min' or 'max', got {mode!r}")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(number("min_delta", min_delta))
        self.best: float | None = None

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        known = params.get("metrics")
        if known is None:
            return  # an evaluation
        known = known | params["added"]
        if self.monitor not in known:
            raise ValueError(f"monitor: expected one of {', '.join(known)}, got {self.monitor!r}")
        mode = known[self.monitor] if self.mode == "auto" else self.mode
        if mode is None:
            raise ValueError(f"mode: expected 'min' or 'max' for {self.monitor!r}, of which it is "
                             f"not known, got 'auto'")  # fmt: skip
        self._sign = 1 if mode == "max" else -1

    def _value(self, logs: dict[str, Any] | None) -> float | None:
        """The quantity; None in an epoch without validation."""
        value = (logs or {}).get(self.monitor)
        if np.ndim(value):
            raise ValueError(f"monitor: expected a quantity that is one number, got "
                             f"{self.monitor!r}, {np.size(value)} numbers")  # fmt: skip
        return value

    def _is_better(self, value: float, than: float | None) -> bool:
        if than is None:
            return True
        value -= self._sign * self.min_delta
        return value > than if self._sign > 0 else value < than


class EarlyStopping(Monitor):
    """Stops the training when a quantity has not got better for `patience` epochs.

    Args:
        monitor, min_delta, mode: as of `Monitor`. Default "val_loss", 0, "auto".
        patience: so many epochs without getting better stop it. Default 0: the first.
        verbose: 1 prints a line when it stops, and one when weights are restored.
        baseline: the value to be beaten too before an epoch counts as better. Default None.
        restore_best_weights: at the end of the training, also when an error or Ctrl-C ends it, set
            the weights of the best epoch.
        start_from_epoch: epochs before it are not looked at. Default 0.

    `stopped_epoch`, `best_epoch` (from 0), `best` and `best_weights` can be read afterwards.
    """

    state_names = ("wait", "best", "best_epoch", "best_weights", "stopped_epoch")

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0,
        verbose: int = 0, mode: str = "auto", baseline: float | None = None,
        restore_best_weights: bool = False, start_from_epoch: int = 0,
    ):  # fmt: skip
        super().__init__(monitor, mode, min_delta)
        self.patience = whole("patience", patience)
        self.verbose = integer("verbose", verbose)
        self.baseline = None if baseline is None else number("baseline", baseline)
        self.restore_best_weights = boolean("restore_best_weights", restore_best_weights)
        self.start_from_epoch = whole("start_from_epoch", start_from_epoch)
        self.on_train_begin()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.wait = self.best_epoch = self.stopped_epoch = 0
        self.best = self.best_weights = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self._is_better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._is_better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring the weights of the best epoch, {self.best_epoch + 1}")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by a factor when a quantity has not got better for a while.

    Args:
        monitor, mode, min_delta: as of `Monitor`. Default "val_loss", "auto", 1e-4.
        factor: above 0 and below 1. Default 0.1.
        patience: so many epochs without getting better. Default 10.
        verbose: 1 prints a line when it happens.
        cooldown: epochs after that in which nothing is counted. Default 0.
        min_lr: the rate does not fall below it. Default 0.

    The optimizer's learning rate has to be a number: ValueError for a schedule. The logs get
    "learning_rate", that of the epoch.
    """

    state_names = ("wait", "best", "cooldown_counter")
    log_names = ("learning_rate",)

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, verbose: int = 0,
        mode: str = "auto", min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ):  # fmt: skip
        super().__init__(monitor, mode, min_delta)
        self.factor = number("factor", factor, above=0, below=1)
        self.patience = whole("patience", patience)
        self.verbose = integer("verbose", verbose)
        self.cooldown = whole("cooldown", cooldown)
        self.min_lr = number("min_lr", min_lr, least=0)
        self.wait = self.cooldown_counter = 0

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        rate_of(self)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.wait = self.cooldown_counter = 0
        self.best = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        logs["learning_rate"] = rate = rate_of(self)
        value = self._value(logs)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"Epoch {epoch + 1}: learning rate {self.model.optimizer.learning_rate}")
