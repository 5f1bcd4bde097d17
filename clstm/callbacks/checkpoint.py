from __future__ import annotations

from pathlib import Path
from typing import Any

from .._arrays import boolean, integer, number
from .base import path_of, save_frequency
from .monitor import Monitor


class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, after each epoch or so many batches, or when it is best.

    Args:
        filepath: of the file, written whole or not at all; folders are made. May have fields, as in
            "{epoch:02d}-{val_loss:.2f}.clstm": `epoch` (from 1), the logs, and, with a number as
            `save_freq`, `batch`.
        monitor, mode: as of `Monitor`; used with `save_best_only`. Default "val_loss", "auto".
        verbose: 1 prints a line for each file.
        save_best_only: save only when the quantity is better than ever.
        save_weights_only: `model.save_weights` instead of `model.save`.
        save_freq: "epoch", or after so many batches. Default "epoch".
        initial_value_threshold: the value to be beaten first. Default None.

    To go on with an interrupted training use `BackupAndRestore`.
    """

    state_names = ("best", "seen", "_epoch")

    def __init__(
        self, filepath: Any, monitor: str = "val_loss", verbose: int = 0,
        save_best_only: bool = False, save_weights_only: bool = False, mode: str = "auto",
        save_freq: str | int = "epoch", initial_value_threshold: float | None = None,
    ):  # fmt: skip
        super().__init__(monitor, mode)
        self.filepath = str(path_of("filepath", filepath))
        self.verbose = integer("verbose", verbose)
        self.save_best_only = boolean("save_best_only", save_best_only)
        self.save_weights_only = boolean("save_weights_only", save_weights_only)
        self.save_freq = save_frequency(save_freq)
        if initial_value_threshold is not None:
            self.best = number("initial_value_threshold", initial_value_threshold)
        self.reads_batch_logs = self.save_freq != "epoch"
        self._epoch = self.seen = 0

    def set_params(self, params: dict[str, Any]) -> None:
        if self.save_best_only:
            super().set_params(params)
        known = params.get("metrics")
        if known is None:
            return  # an evaluation
        if self.save_freq == "epoch":
            known = known | params["added"]
        else:
            known = [name for name in known if not name.startswith("val_")] + ["batch"]
            if self.save_best_only and self.monitor not in known:
                raise ValueError(f"monitor: expected a quantity of batches with save_freq="
                                 f"{self.save_freq}, got {self.monitor!r}")  # fmt: skip
        try:
            self.filepath.format(epoch=1, **dict.fromkeys(known, 1.0) | {"batch": 1})
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"filepath: expected fields of epoch, {', '.join(known)}, got "
                             f"{self.filepath!r}") from error  # fmt: skip

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.seen += 1
        if self.save_freq != "epoch" and self.seen % self.save_freq == 0:
            self._save({**(logs or {}), "batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs or {})

    def _save(self, logs: dict[str, Any]) -> None:
        if self.save_best_only:
            value = self._value(logs)
            if value is None or not self._is_better(value, self.best):
                return
            self.best = value
        path = Path(self.filepath.format(epoch=self._epoch + 1, **logs))
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"Epoch {self._epoch + 1}: saved to {path}")
