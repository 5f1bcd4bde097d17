from __future__ import annotations

from typing import Any

from .._arrays import boolean
from .._interrupts import Whole
from .base import Callback


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the moving average of the weights, an optimizer's `use_ema`.

    Weights and average change places for the time of an evaluation, also of a validation, or of a
    prediction.

    Args:
        swap_on_epoch: also from the end of an epoch to the begin of the next, for callbacks after
            this one in the list that save or look at the weights. Default False.

    Raises:
        ValueError: from `fit` and the others, before anything changes: the optimizer has no
            `use_ema`.
    """

    def __init__(self, swap_on_epoch: bool = False):
        self.swap_on_epoch = boolean("swap_on_epoch", swap_on_epoch)

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        optimizer = self.model.optimizer
        if optimizer is None or not optimizer.use_ema:
            raise ValueError("SwapEMAWeights: expected a model whose optimizer has use_ema=True, "
                             f"got {type(optimizer).__name__} without")  # fmt: skip

    def _place(self, averages: bool) -> None:
        """Have the averages, or not, as the weights of the model."""
        optimizer = self.model.optimizer
        if optimizer.exchanged != averages:
            self.model._parameters = parameters = self.model._parameters.current()
            with Whole():
                optimizer.exchange(parameters.values[: parameters.trained])

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._place(False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._place(self.swap_on_epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._place(False)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._place(True)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._place(False)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._place(True)

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        self._place(False)
