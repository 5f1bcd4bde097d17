from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from .._arrays import positive

HOOKS = (
    "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_train_batch_begin",
    "on_train_batch_end", "on_test_begin", "on_test_end", "on_test_batch_begin",
    "on_test_batch_end", "on_predict_begin", "on_predict_end", "on_predict_batch_begin",
    "on_predict_batch_end",
)  # fmt: skip


class Callback:
    """Base of all callbacks: define the hooks that you need.

    `self.model` is the model and `self.params` a dict with "epochs", "steps" (None if unknown),
    "verbose" and, in `fit`, "metrics": the names in the logs of an epoch, each with "min" or "max",
    what is better, or None; and "added": those that callbacks add, likewise. `logs` holds the loss
    and the metrics so far. To stop the training, set `self.model.stop_training = True`.

    `log_names` are the names that its on_epoch_end adds to the logs, so that others may monitor or
    write them. `state_names` are the attributes that are to be remembered when a training is
    interrupted and goes on in another process (`fit(resume=...)`): numbers, texts, None, arrays,
    and lists and dicts, by texts, of these. In a training that goes on within an epoch,
    on_epoch_begin is not called again for it.
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    log_names: ClassVar[tuple[str, ...]] = ()
    reads_batch_logs = True  # whether its on_train_batch_end reads logs, which then are computed
    model: Any = None
    params: dict[str, Any]

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """Copies of the attributes in `state_names`."""
        return {name: copy.deepcopy(getattr(self, name)) for name in self.state_names}

    def set_state(self, state: dict[str, Any]) -> None:
        """Set what `get_state` gave; called after on_train_begin."""
        for name in self.state_names:
            setattr(self, name, copy.deepcopy(state[name]))

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None: ...
    def on_train_end(self, logs: dict[str, float] | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None: ...
    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None: ...
    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None: ...
    def on_test_begin(self, logs: dict[str, float] | None = None) -> None: ...
    def on_test_end(self, logs: dict[str, float] | None = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None: ...
    def on_predict_begin(self, logs: dict[str, float] | None = None) -> None: ...
    def on_predict_end(self, logs: dict[str, float] | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None: ...


class CallbackList:
    """Calls a hook of every callback that defines it; one that nobody defines costs nothing."""

    def __init__(self, callbacks: Sequence[Callback]):
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"callbacks: expected instances of Callback, got {type(callback).__name__}"
                )
        self._callbacks = list(callbacks)
        self._hooks = {
            hook: [
                getattr(c, hook)
                for c in callbacks
                if getattr(type(c), hook) is not getattr(Callback, hook) or hook in vars(c)
            ]
            for hook in HOOKS
        }

    @property
    def reads_batch_logs(self) -> bool:
        """Whether a callback reads the logs of a batch of training."""
        hooks = self._hooks["on_train_batch_end"]
        return any(getattr(hook, "__self__", Callback).reads_batch_logs for hook in hooks)

    def attach(self, model: Any, params: dict[str, Any]) -> None:
        """Tell every callback which model it belongs to, and how it runs."""
        for callback in self._callbacks:
            callback.set_model(model)
            callback.set_params(params)

    def __call__(self, hook: str, *arguments: Any) -> None:
        for function in self._hooks[hook]:
            function(*arguments)

    def wants(self, hook: str) -> bool:
        """Whether a callback defines the hook."""
        return bool(self._hooks[hook])


def rate_of(callback: Callback) -> float:
    """The optimizer's learning rate, which is to be changed; ValueError for a schedule."""
    rate = callback.model.optimizer.learning_rate
    if not isinstance(rate, float):
        raise ValueError(f"{type(callback).__name__}: expected an optimizer whose learning rate is "
                         f"a number, got {type(rate).__name__}")  # fmt: skip
    return rate


def save_frequency(value: Any) -> Any:
    """ "epoch", or a number of batches."""
    if isinstance(value, str):
        if value != "epoch":
            raise ValueError(f"save_freq: expected 'epoch' or a number, got {value!r}")
        return value
    return positive("save_freq", value)


def path_of(name: str, value: Any) -> Path:
    try:
        return Path(value)
    except TypeError as error:
        raise TypeError(f"{name}: expected a path, got {type(value).__name__}") from error
