"""What writes the logs somewhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import boolean, positive
from .base import HOOKS, Callback, path_of


class CSVLogger(Callback):
    """Writes a line of the logs after each epoch, with "epoch" (from 0) first.

    Args:
        filename: of the file. A training that goes on (`fit(resume=...)`) has all its lines there.
        separator: between the values. Default ",".
        append: to an existing file, without another header. Default False: begin a new file.

    Arrays are written as lists; what an epoch does not have, such as a validation, as NA.
    """

    state_names = ("before", "text", "keys")

    def __init__(self, filename: Any, separator: str = ",", append: bool = False):
        self.filename = path_of("filename", filename)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator: expected one character, got {separator!r}")
        self.separator = separator
        self.append = boolean("append", append)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.text, self.keys = "", None
        self.before = ""
        if self.append and self.filename.exists():
            self.before = self.filename.read_text(encoding="utf-8")
        self._begun = False  # the file is not touched before there is a line

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._write(self.before + self.text, "w")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        lines = io.StringIO()
        writer = csv.writer(lines, delimiter=self.separator, lineterminator="\n")
        if self.keys is None:
            known = self.params.get("metrics") or {}
            self.keys = list(dict.fromkeys([*known, *logs]))
            if not self.before:
                writer.writerow(["epoch", *self.keys])
        writer.writerow([epoch, *(_plain(logs.get(key, "NA")) for key in self.keys)])
        self.text += lines.getvalue()
        if self._begun:
            self._write(lines.getvalue(), "a")
        else:
            self._write(self.before + self.text, "w")

    def _write(self, text: str, mode: str) -> None:
        with self.filename.open(mode, encoding="utf-8") as file:
            file.write(text)
        self._begun = True


class TensorBoard(Callback):
    """Gives the logs to a writer of TensorBoard's files, or to whatever has its `add_scalar`.

    Args:
        writer: with a method `add_scalar(tag, value, step)`, such as a SummaryWriter of
            tensorboardX or torch.utils.tensorboard.
        update_freq: "epoch", or also after so many batches. Default "epoch".

    Tags are "epoch_loss", "epoch_val_loss" ... by epoch (from 0), "batch_loss" ... by batch. Arrays
    are given element by element, "epoch_f1_score_0" ...
    """

    state_names = ("seen",)

    def __init__(self, writer: Any, update_freq: str | int = "epoch"):
        if not callable(getattr(writer, "add_scalar", None)):
            raise TypeError(f"writer: expected something with add_scalar, got "
                            f"{type(writer).__name__}")  # fmt: skip
        self.writer = writer
        if update_freq != "epoch":
            positive("update_freq", update_freq)
        self.update_freq = update_freq
        self.reads_batch_logs = update_freq != "epoch"
        self.seen = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.seen += 1
        if self.update_freq != "epoch" and self.seen % self.update_freq == 0:
            self._write("batch", logs, self.seen)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._write("epoch", logs, epoch)

    def _write(self, kind: str, logs: dict[str, Any] | None, step: int) -> None:
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0:
                self.writer.add_scalar(f"{kind}_{name}", float(value), step)
            else:
                for k, element in enumerate(np.ravel(value)):
                    self.writer.add_scalar(f"{kind}_{name}_{k}", float(element), step)


class LambdaCallback(Callback):
    """Functions as hooks: `LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))`.

    Args:
        hooks: functions by the name of a hook of `Callback`, with its arguments.
    """

    def __init__(self, **hooks: Callable[..., None]):
        for name, function in hooks.items():
            if name not in HOOKS:
                raise ValueError(f"hooks: expected some of {', '.join(HOOKS)}, got {name!r}")
            if not callable(function):
                raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
            setattr(self, name, function)


class TerminateOnNaN(Callback):
    """Stops the training when the loss is NaN or infinite.

    `compile` by itself raises FloatingPointError then; this is for `on_nan="ignore"`.

    Args:
        raise_error: raise FloatingPointError instead. Default False.
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = boolean("raise_error", raise_error)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or np.isfinite(loss):
            return
        if self.raise_error:
            raise FloatingPointError(f"the loss became {loss} in batch {batch + 1}")
        print(f"Batch {batch + 1}: the loss is {loss}, the training stops")
        self.model.stop_training = True


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
