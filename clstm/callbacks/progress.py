from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .base import Callback


class Progress(Callback):
    """Shows how the training goes: verbose 1 a bar for each epoch, 2 a line for each epoch.

    An evaluation by itself gives one line.
    """

    reads_batch_logs = False  # but when the bar is drawn: `results` gives them

    def __init__(self, verbose: int, results: Callable[[], dict[str, Any]] = dict):
        self.verbose = verbose
        self._results = results
        self._bar: Any = None
        self._began = 0.0
        self._trains = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._trains = True

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self._trains:
            self._began = time.perf_counter()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        if not self._trains:
            self._line("Evaluation", logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._began = time.perf_counter()
        self._title = f"Epoch {epoch + 1}/{self.params['epochs']}"
        if self.verbose == 1:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.params["steps"], desc=self._title, unit="batch", file=sys.stdout,
                mininterval=0.1, dynamic_ncols=True,
            )  # fmt: skip

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        bar = self._bar
        if bar is None:
            return
        if batch > bar.n:  # a training that goes on within an epoch
            bar.initial = bar.n = bar.last_print_n = batch
        if bar.update():  # true when the bar was drawn anew
            bar.set_postfix_str(_text(self._results()), refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_text(logs))
            self._bar.close()
            self._bar = None
        else:
            self._line(self._title, logs)

    def _line(self, title: str, logs: dict[str, float] | None) -> None:
        seconds = time.perf_counter() - self._began
        print(f"{title} - {seconds:.1f}s - {_text(logs)}", flush=True)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._bar is not None:  # stopped inside an epoch
            self._bar.close()
            self._bar = None


def _text(logs: dict[str, float] | None) -> str:
    return " - ".join(f"{name}: {_short(value)}" for name, value in (logs or {}).items())


def _short(value: Any) -> str:
    """A number with four digits, or an array of them as nested lists in one line."""
    if np.ndim(value) == 0:
        return f"{value:.4g}"
    return "[" + ", ".join(map(_short, value)) + "]"
