"""What a model can be asked for: compile, fit, evaluate, predict. The loop is in `loop`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import bptt as truncated
from . import loop
from ._arguments import callback_list, check_repeats, due, split_backup, verbosity
from ._arrays import fraction, positive, whole
from ._interrupts import Guard
from ._serialize import get
from .callbacks import CallbackList, History, Progress
from .data.batches import ArraySource, Source
from .data.sources import check_stateful, open_source, read_batch
from .objective import Objective
from .optimizers import Optimizer
from .resume import Run, signature

Array = np.ndarray


class Trainer:
    """What a model can be asked for: compile, fit, evaluate, predict, and batch by batch."""

    def __init__(self) -> None:
        self.optimizer: Optimizer | None = None
        self.stop_training = False
        self.history: History | None = None
        self.transforms: dict[str, Any] = {}  # of its data, fitted, to be saved with it
        self._compiled: dict[str, Any] | None = None
        self._objective: Objective | None = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        on_nan: str = "raise",
    ) -> None:
        """Say what training minimises, and how. The layers' `trainable` is read here.

        Args:
            optimizer: a name or an Optimizer.
            loss: a name or a Loss; a list or a dict by output name where there are several outputs.
            loss_weights: factors of the outputs' losses.
            metrics: names or Metrics; weighted_metrics: those that see the sample weights.
            on_nan: "raise" stops with FloatingPointError when the loss becomes NaN or infinite,
                with the weights as they were before that batch; "ignore" goes on.

        Raises:
            ValueError, TypeError: an argument is none of these; what was compiled before stays.
        """
        if on_nan not in ("raise", "ignore"):
            raise ValueError(f"on_nan: expected 'raise' or 'ignore', got {on_nan!r}")
        optimizer = get("optimizer", optimizer)
        if optimizer is None:
            raise TypeError("optimizer: expected a name or an Optimizer, got None")
        settings = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics,
                    "weighted_metrics": weighted_metrics, "on_nan": on_nan}  # fmt: skip
        objective = self._new_objective(settings)
        if self.built:
            self._plan()
        self._objective = objective if self.built else None  # the output may get another name
        self.optimizer = optimizer
        self._compiled = settings

    def _new_objective(self, settings: dict[str, Any]) -> Objective:
        return Objective(self._output_names(), settings["loss"], settings["loss_weights"],
                         settings["metrics"], settings["weighted_metrics"])  # fmt: skip

    def _output_names(self) -> list[str]:
        return self._reader.output_names

    def _require_compiled(self) -> None:
        if self._compiled is None:
            raise ValueError("model: expected a compiled one, call compile(optimizer, loss) first")
        if self._compiled["loss"] is None:
            raise ValueError("loss: expected one to train for, got None in compile")

    def _current_objective(self) -> Objective:
        if self._objective is None:
            self._objective = self._new_objective(self._compiled)
        return self._objective

    # --- the loop ------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        bptt: tuple[int, int] | None = None,
        resume: Any = None,
    ) -> History:
        """Train for epochs initial_epoch .. epochs - 1.

        Args:
            x: an array (or a list or dict of them, one for each input), or a generator or other
                iterable of batches (x, y) or (x, y, sample_weight).
            y: labels, likewise for the outputs; None with an iterable.
            batch_size: rows of a batch, 32 if None.
            verbose: 0 silent, 1 a progress bar, 2 a line for each epoch; "auto" is 1 on a
                terminal, else 2.
            callbacks: a list of `clstm.callbacks.Callback`.
            validation_split: the last share of the rows, taken before any shuffling, is not trained
                on but evaluated after each epoch, without class weights; validation_data: (x, y) or
                (x, y, sample_weight), or an iterable of such batches.
            shuffle: draw a new order of the rows in every epoch.
            class_weight: factors of the loss by class number; sample_weight: by row (B,) or
                by step (B, T).
            steps_per_epoch: batches of an epoch: the next epoch goes on with the next batch, and
                the data begin anew when they end, but an iterator, which stops the training then.
            validation_freq: evaluate after every so many epochs, or after those listed (from 1).
            bptt: (k1, k2), k1 <= k2: truncated backpropagation through time (Williams & Peng
                1990), for labels (B, T, ...) and LSTMs that give sequences. Every k1 steps of a
                batch the weights are updated by the gradient of these steps' loss, which goes back
                through k2 steps. States go on from window to window, and begin anew with each batch
                unless a layer is stateful. A window's loss is its share of the sequence's mean, so
                that a step of SGD is about k1 / T of one on that window alone. See `clstm.bptt`.
            resume: a folder: after each epoch it is saved there where the training stands, and a
                call that finds such a checkpoint goes on from it, to the same bits as if it had
                never stopped. See `callbacks.BackupAndRestore`, which can save more often.

        Returns:
            History: `.history` has a list for "loss" and each metric, and with "val_" before.

        Raises:
            ValueError, TypeError: an argument or a label is wrong; nothing was trained. Labels of
                iterables, and of outputs with a mask, are seen batch by batch.
            FloatingPointError: the loss is NaN or infinite (see `compile`).
        """
        self._require_compiled()
        epochs = positive("epochs", epochs)
        initial_epoch = whole("initial_epoch", initial_epoch)
        validation_split = fraction("validation_split", validation_split)
        if validation_data is not None and validation_split:
            raise ValueError("validation_split: expected 0 beside validation_data, got both")
        if validation_batch_size is not None:
            validation_batch_size = positive("validation_batch_size", validation_batch_size)
        verbose = verbosity(verbose)
        windows = None if bptt is None else truncated.read(bptt)
        is_due = due(validation_freq)
        history = History()
        shown = []
        if verbose:
            shown.append(Progress(verbose, lambda: self._current_objective().results()))
        others, backup = split_backup(callback_list(callbacks), resume)
        last = [] if backup is None else [backup]  # when all others have seen the end of a step
        call = CallbackList([*others, *shown, history, *last])
        if epochs - initial_epoch > 1:
            check_repeats("x", "steps_per_epoch", x, steps_per_epoch)
            check_repeats("validation_data", "validation_steps", validation_data, validation_steps)
        source = open_source(self, x, y, sample_weight, batch_size, steps_per_epoch, goes_on=True,
                             steps_name="steps_per_epoch", class_weight=class_weight)  # fmt: skip
        validation = None
        if validation_split:
            if not isinstance(source, ArraySource):
                raise ValueError("validation_split: expected arrays, got an iterable x")
            source, validation = source.split(validation_split, validation_batch_size,
                                              validation_steps)  # fmt: skip
        elif validation_data is not None:
            parts = validation_data if isinstance(validation_data, (tuple, list)) else (
                validation_data, None)  # fmt: skip
            if not 2 <= len(parts) <= 3:
                raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight), got "
                                 f"{len(parts)} parts")  # fmt: skip
            validation = open_source(self, *parts, *[None] * (3 - len(parts)),
                                     validation_batch_size or batch_size, validation_steps,
                                     steps_name="validation_steps")  # fmt: skip
        if validation is None and self.optimizer.watches_validation:
            raise ValueError("validation_data: expected some for the optimizer "
                             f"{type(self.optimizer).__name__}, got none")  # fmt: skip
        step = loop.train_step
        if windows is not None:
            data = source.data if isinstance(source, ArraySource) else source.first
            step = truncated.step(self, windows, data)
        objective = self._current_objective()
        self._check(objective, source, validation)
        for epoch in range(epochs - initial_epoch):  # a schedule may fail: at once is better
            for step_of_epoch in (0, (source.steps or 1) - 1):
                self.optimizer.learning_rate_after(epoch * (source.steps or 0) + step_of_epoch)
        if class_weight is not None and isinstance(source, ArraySource):
            source.data = self._reader.weigh(source.data, class_weight)
        names = objective.names_of_logs()
        if validation is not None:
            names |= {f"val_{name}": better for name, better in names.items()}
        added = {name: None for callback in others for name in callback.log_names}
        call.attach(self, {"epochs": epochs, "steps": source.steps, "verbose": verbose,
                           "metrics": names, "added": added})  # fmt: skip
        if backup is not None:
            weights = class_weight and {str(k): float(v) for k, v in class_weight.items()}
            frequency = validation_freq if validation is not None else None
            settings = {"shuffle": bool(shuffle), "bptt": windows, "class_weight": weights,
                        "sample_weight": sample_weight is not None, "validation_freq":
                        list(frequency) if isinstance(frequency, Sequence) else frequency}
            run = Run(self, source, validation, objective, [*others, history], settings)
            backup.open(run, signature(run))
        self.stop_training = False
        self.history = history
        asked, done, logs = epochs > initial_epoch, 0, {}
        call("on_train_begin", {})
        try:
            if backup is not None:
                initial_epoch, done, logs = backup.restore(initial_epoch)
            for epoch in range(initial_epoch, epochs):
                if self.stop_training:
                    break
                begun = CallbackList([*shown, *last]) if done else call
                begun("on_epoch_begin", epoch, {})
                with Guard():
                    steps = loop.train_epoch(self, source, objective, shuffle, call, step, done)
                done = 0
                if source.ran_out:
                    warnings.warn(
                        f"x gave {steps} batches in epoch {epoch + 1}, steps_per_epoch is "
                        f"{source.steps}: the training stops", stacklevel=2)  # fmt: skip
                    self.stop_training = True
                    if not steps:
                        break
                logs = objective.results()
                if validation is not None and is_due(epoch + 1):
                    result = loop.evaluate(self, validation, objective, call)
                    logs |= {f"val_{name}": value for name, value in result.items()}
                    self.optimizer.observe(result["loss"])
                call("on_epoch_end", epoch, logs)
            if asked:  # also after a resume with nothing left to train
                self._parameters = weights = self._parameters.current()
                self.optimizer.finalize_variable_values(weights.values[: weights.trained])
        finally:
            call("on_train_end", logs)
        if backup is not None:
            backup.end()
        return history

    def _check(self, objective: Objective, *sources: Source | None) -> None:
        """Raise ValueError for what can be known to fail: labels, rows for stateful layers."""
        for source in sources:
            if isinstance(source, ArraySource):
                check_stateful(self, source)
                objective.check(source.data.y, self._reader.output_shapes, self._executor.masked)
            elif source is not None:
                objective.resolve(source.first.y, self._reader.output_shapes)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None,
        verbose: int | str = 0, sample_weight: Any = None, steps: int | None = None,
        callbacks: Any = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """The loss and the metrics on x, y: a number, a list, or a dict with `return_dict`.

        Arguments as in `fit`; steps: the number of batches, None for all. verbose 1 or 2 prints a
        line at the end.
        """
        self._require_compiled()
        verbose = verbosity(verbose)
        call = CallbackList([*callback_list(callbacks), *([Progress(verbose)] if verbose else [])])
        source = open_source(self, x, y, sample_weight, batch_size, steps)
        objective = self._current_objective()
        self._check(objective, source)
        call.attach(self, {"epochs": 1, "steps": source.steps, "verbose": verbose})
        logs = loop.evaluate(self, source, objective, call)
        return logs if return_dict else _as_list(logs)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = 0,
        steps: int | None = None, callbacks: Any = None,
    ) -> Any:  # fmt: skip
        """The outputs for x, batch by batch: an array, or a list of them for several outputs.

        x: as in `fit`; of an iterable's batches (x, y) only x is read. steps: the number of
        batches, None for all. An x without rows gives outputs without rows. verbose: as Keras's,
        nothing is printed.
        """
        verbose = verbosity(verbose)
        call = CallbackList(callback_list(callbacks))
        source = open_source(self, x, None, None, batch_size, steps, labelled=False)
        check_stateful(self, source)
        call.attach(self, {"epochs": 1, "steps": source.steps, "verbose": verbose})
        call("on_predict_begin", {})
        if source.rows == 0:
            outputs = self._executor.forward(source.data.x)[0]
        elif source.rows is None:
            parts = list(loop.outputs_of(self, source, call))
            outputs = [np.concatenate(column) for column in zip(*parts, strict=True)]
        else:
            rows = min(source.rows, source.steps * source.batch_size)
            outputs, done = [], 0
            for part in loop.outputs_of(self, source, call):
                if not outputs:
                    outputs = [np.empty((rows, *o.shape[1:]), o.dtype) for o in part]
                for target, o in zip(outputs, part, strict=True):
                    target[done : done + len(o)] = o
                done += len(part[0])
        call("on_predict_end", {})
        return outputs if self.several_outputs else outputs[0]

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None,
        return_dict: bool = False, bptt: tuple[int, int] | None = None,
    ) -> Any:  # fmt: skip
        """One step on one batch; the loss and the metrics of that batch, before the step.

        bptt: as in `fit`: a step, and what comes before it, for each window.
        """
        windows = None if bptt is None else truncated.read(bptt)
        return self._single(loop.train_step, x, y, sample_weight, class_weight, return_dict,
                            windows)  # fmt: skip

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics of one batch."""
        return self._single(loop.test_step, x, y, sample_weight, None, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch."""
        return self(x)

    def _single(self, run: Any, x: Any, y: Any, weight: Any, class_weight: Any, return_dict: bool,
                windows: tuple[int, int] | None = None) -> Any:  # fmt: skip
        self._require_compiled()
        if y is None:
            raise ValueError("y: expected labels, got None")
        batch = read_batch(self, x, y, weight, class_weight)
        if batch.rows == 0:
            raise ValueError("x: expected at least one row, got none")
        if windows is not None:
            run = truncated.step(self, windows, batch)
        objective = self._current_objective()
        objective.check(batch.y, self._reader.output_shapes, self._executor.masked)
        objective.reset()
        with Guard():
            run(self, batch, objective)
        logs = objective.results()
        return logs if return_dict else _as_list(logs)


def _as_list(logs: dict[str, float]) -> Any:
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
