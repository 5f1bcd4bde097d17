"""The loop behind `fit`, `evaluate` and `predict`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import random
from ._arrays import fraction, numbers, positive
from ._serialize import get
from .callbacks import Callback, CallbackList, History, Progress
from .data.batches import ArraySource, Batch, IterableSource, Source, is_iterable_of_batches
from .data.reader import check_rows
from .objective import Objective
from .optimizers import Optimizer

Array = np.ndarray


class Trainer:
    """What a model can be asked for: compile, fit, evaluate, predict, and batch by batch."""

    def __init__(self) -> None:
        self.optimizer: Optimizer | None = None
        self.stop_training = False
        self.history: History | None = None
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

    # --- one batch -----------------------------------------------------------------------------

    def _train(self, batch: Batch, objective: Objective) -> None:
        executor, optimizer = self._executor, self.optimizer
        self._parameters = parameters = self._parameters.current()
        parameters.grads.fill(0)
        outputs, masks, tapes, penalty = executor.forward(batch.x, training=True, keep=True)
        values, total, gradients = objective.gradients(batch.y, outputs, batch.weight, masks)
        total += penalty + executor.penalty()
        if not math.isfinite(total) and self._compiled["on_nan"] == "raise":
            raise FloatingPointError(
                f"the loss became {total} in step {optimizer.iterations + 1}; the weights are "
                "those before it. A smaller learning rate or clipping (clipnorm) may help; "
                "compile(on_nan='ignore') goes on regardless"
            )
        # Before any weight changes: a metric that does not fit the outputs raises here.
        objective.update(batch.y, outputs, batch.weight, masks, values, total, batch.rows)
        executor.backward(tapes, gradients)
        executor.add_penalty_gradients()
        n = parameters.trained
        optimizer.apply(parameters.grads[:n], parameters.values[:n], parameters.trained_segments)
        executor.constrain()

    def _test(self, batch: Batch, objective: Objective) -> None:
        outputs, masks, _, penalty = self._executor.forward(batch.x)
        values, total, _ = objective.gradients(batch.y, outputs, batch.weight, masks)
        total += penalty + self._executor.penalty()
        objective.update(batch.y, outputs, batch.weight, masks, values, total, batch.rows)

    # --- what a user passes --------------------------------------------------------------------

    def _source(
        self, x: Any, y: Any, weight: Any, batch_size: int | None, steps: int | None, *,
        steps_name: str = "steps", class_weight: Any = None, labelled: bool = True,
        goes_on: bool = False,
    ) -> Source:  # fmt: skip
        """Batches out of what a user passed; builds a model that waits for its shape."""
        if x is None:
            raise ValueError("x: expected arrays or an iterable of batches, got None")
        steps = None if steps is None else positive(steps_name, steps)
        size = 32 if batch_size is None else positive("batch_size", batch_size)
        if is_iterable_of_batches(x):
            if y is not None or weight is not None:
                raise ValueError("y: expected None beside an iterable x, whose batches are (x, y)")

            def convert(bx: Any, by: Any, bw: Any) -> Batch:
                if not labelled:
                    by = bw = None
                elif by is None:
                    raise ValueError("x: expected batches (x, y), got batches without y")
                self._require_built(bx)
                return self._reader.batch(bx, by, bw, class_weight)

            return IterableSource(x, steps, convert, goes_on)
        if labelled and y is None:
            raise ValueError("y: expected labels, got None")
        if not self.built:
            self._check_before_building(x, y, weight)
        self._require_built(x)
        batch = self._reader.batch(x, y, weight)
        if batch.rows == 0 and labelled:
            raise ValueError("x: expected at least one row, got none")
        return ArraySource(batch, size, steps, goes_on)

    @staticmethod
    def _check_before_building(x: Any, y: Any, weight: Any) -> None:
        """Raise what can be known to be wrong before weights are made."""
        rows = len(numbers("x", x)) if np.ndim(x) else 0
        for name, value in (("y", y), ("sample_weight", weight)):
            if value is not None and not isinstance(value, dict):
                check_rows(name, numbers(name, value), rows)

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

        Returns:
            History: `.history` has a list for "loss" and each metric, and with "val_" before.

        Raises:
            ValueError, TypeError: an argument or a label is wrong; nothing was trained. Labels of
                iterables, and of outputs with a mask, are seen batch by batch.
            FloatingPointError: the loss is NaN or infinite (see `compile`).
        """
        self._require_compiled()
        epochs = positive("epochs", epochs)
        if isinstance(initial_epoch, bool) or not isinstance(initial_epoch, (int, np.integer)):
            raise TypeError(f"initial_epoch: expected an int, got {type(initial_epoch).__name__}")
        if initial_epoch < 0:
            raise ValueError(f"initial_epoch: expected at least 0, got {initial_epoch}")
        validation_split = fraction("validation_split", validation_split)
        if validation_data is not None and validation_split:
            raise ValueError("validation_split: expected 0 beside validation_data, got both")
        if validation_batch_size is not None:
            validation_batch_size = positive("validation_batch_size", validation_batch_size)
        verbose = _verbose(verbose)
        due = _due(validation_freq)
        history = History()
        shown = [Progress(verbose)] if verbose else []
        call = CallbackList([*_listed(callbacks), *shown, history])
        if epochs - initial_epoch > 1:
            _check_repeats("x", "steps_per_epoch", x, steps_per_epoch)
            _check_repeats("validation_data", "validation_steps", validation_data, validation_steps)
        source = self._source(x, y, sample_weight, batch_size, steps_per_epoch, goes_on=True,
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
            validation = self._source(*parts, *[None] * (3 - len(parts)),
                                      validation_batch_size or batch_size, validation_steps,
                                      steps_name="validation_steps")  # fmt: skip
        objective = self._current_objective()
        self._check(objective, source, validation)
        if class_weight is not None and isinstance(source, ArraySource):
            source.data = self._reader.weigh(source.data, class_weight)
        call.attach(self, {"epochs": epochs, "steps": source.steps, "verbose": verbose})
        self.stop_training = False
        self.history = history
        logs: dict[str, float] = {}
        call("on_train_begin", {})
        try:
            for epoch in range(initial_epoch, epochs):
                call("on_epoch_begin", epoch, {})
                steps = self._epoch(source, objective, shuffle, call)
                if source.ran_out:
                    warnings.warn(
                        f"x gave {steps} batches in epoch {epoch + 1}, steps_per_epoch is "
                        f"{source.steps}: the training stops", stacklevel=2)  # fmt: skip
                    self.stop_training = True
                    if not steps:
                        break
                logs = objective.results()
                if validation is not None and due(epoch + 1):
                    result = self._evaluate(validation, objective, call)
                    logs |= {f"val_{name}": value for name, value in result.items()}
                call("on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
        finally:
            call("on_train_end", logs)
        return history

    def _check(self, objective: Objective, *sources: Source | None) -> None:
        """Raise ValueError for what can be known to fail: labels, rows for stateful layers."""
        for source in sources:
            if isinstance(source, ArraySource):
                self._check_stateful(source)
                objective.check(source.data.y, self._reader.output_shapes, self._executor.masked)
            elif source is not None:
                objective.resolve(source.first.y, self._reader.output_shapes)

    def _check_stateful(self, source: ArraySource) -> None:
        for layer in self._executor.stateful():
            if source.rows > source.batch_size and source.rows % source.batch_size:
                raise ValueError(
                    f"batch_size: expected a divisor of the {source.rows} rows for the stateful "
                    f"layer {layer.name}, got {source.batch_size}"
                )

    def _epoch(self, source: Source, objective: Objective, shuffle: bool, call: CallbackList
               ) -> int:  # fmt: skip
        """Train one epoch; the number of its batches."""
        objective.reset()
        begins, ends = call.wants("on_train_batch_begin"), call.wants("on_train_batch_end")
        steps = 0
        for batch in source.epoch(random.generator() if shuffle else None):
            if begins:
                call("on_train_batch_begin", steps, {})
            self._train(batch, objective)
            if ends:
                call("on_train_batch_end", steps, objective.results())
            steps += 1
            if self.stop_training:
                break
        return steps

    def _evaluate(self, source: Source, objective: Objective, call: CallbackList
                  ) -> dict[str, float]:  # fmt: skip
        objective.reset()
        call("on_test_begin", {})
        steps = 0
        for batch in source.epoch():
            call("on_test_batch_begin", steps, {})
            self._test(batch, objective)
            if call.wants("on_test_batch_end"):
                call("on_test_batch_end", steps, objective.results())
            steps += 1
        if source.ran_out:
            raise ValueError(f"x: expected {source.steps or 'more'} batches, got {steps}")
        logs = objective.results()
        call("on_test_end", logs)
        return logs

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
        verbose = _verbose(verbose)
        call = CallbackList([*_listed(callbacks), *([Progress(verbose)] if verbose else [])])
        source = self._source(x, y, sample_weight, batch_size, steps)
        objective = self._current_objective()
        self._check(objective, source)
        call.attach(self, {"epochs": 1, "steps": source.steps, "verbose": verbose})
        logs = self._evaluate(source, objective, call)
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
        verbose = _verbose(verbose)
        call = CallbackList(_listed(callbacks))
        source = self._source(x, None, None, batch_size, steps, labelled=False)
        if isinstance(source, ArraySource):
            self._check_stateful(source)
        call.attach(self, {"epochs": 1, "steps": source.steps, "verbose": verbose})
        call("on_predict_begin", {})
        if source.rows == 0:
            outputs = self._executor.forward(source.data.x)[0]
        elif source.rows is None:
            parts = list(self._outputs(source, call))
            outputs = [np.concatenate(column) for column in zip(*parts, strict=True)]
        else:
            rows = min(source.rows, source.steps * source.batch_size)
            outputs, done = [], 0
            for part in self._outputs(source, call):
                if not outputs:
                    outputs = [np.empty((rows, *o.shape[1:]), o.dtype) for o in part]
                for whole, o in zip(outputs, part, strict=True):
                    whole[done : done + len(o)] = o
                done += len(part[0])
        call("on_predict_end", {})
        return outputs if self.several_outputs else outputs[0]

    def _outputs(self, source: Source, call: CallbackList) -> Iterator[list[Array]]:
        for k, batch in enumerate(source.epoch()):
            call("on_predict_batch_begin", k, {})
            outputs = self._executor.forward(batch.x)[0]
            call("on_predict_batch_end", k, {"outputs": outputs})
            yield outputs

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """One step on one batch; the loss and the metrics of that batch, before the step."""
        return self._single(self._train, x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics of one batch."""
        return self._single(self._test, x, y, sample_weight, None, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch."""
        return self(x)

    def _single(self, run: Any, x: Any, y: Any, weight: Any, class_weight: Any, return_dict: bool
                ) -> Any:  # fmt: skip
        self._require_compiled()
        if y is None:
            raise ValueError("y: expected labels, got None")
        if not self.built:
            self._check_before_building(x, y, weight)
        self._require_built(x)
        batch = self._reader.batch(x, y, weight, class_weight)
        if batch.rows == 0:
            raise ValueError("x: expected at least one row, got none")
        objective = self._current_objective()
        objective.check(batch.y, self._reader.output_shapes, self._executor.masked)
        objective.reset()
        run(batch, objective)
        logs = objective.results()
        return logs if return_dict else _as_list(logs)


def _as_list(logs: dict[str, float]) -> Any:
    values = list(logs.values())
    return values if len(values) > 1 else values[0]


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    if isinstance(callbacks, (list, tuple)):
        return list(callbacks)
    if isinstance(callbacks, Callback):
        return [callbacks]
    raise TypeError(f"callbacks: expected a list of callbacks, got {type(callbacks).__name__}")


def _check_repeats(name: str, steps_name: str, x: Any, steps: int | None) -> None:
    """Raise ValueError for an iterator that would be empty, or never end, in the second epoch."""
    if isinstance(x, Iterator) and steps is None:
        raise ValueError(f"{steps_name}: expected a number of batches for several epochs of an "
                         f"iterator {name}, got None")  # fmt: skip


def _due(frequency: Any) -> Any:
    """Whether an epoch, counted from 1, is followed by an evaluation, as a function."""
    if isinstance(frequency, (list, tuple, set)):
        epochs = {positive("validation_freq", epoch) for epoch in frequency}
        return epochs.__contains__
    every = positive("validation_freq", frequency)
    return lambda epoch: epoch % every == 0


def _verbose(verbose: int | str) -> int:
    if verbose == "auto":
        import sys

        return 1 if sys.stdout.isatty() else 2
    if not isinstance(verbose, (int, np.integer)) or verbose not in (0, 1, 2):
        raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
    return int(verbose)
