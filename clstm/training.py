"""The loop behind `fit`, `evaluate` and `predict`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import random
from ._arrays import fraction, numbers, positive
from ._serialize import get
from .callbacks import CallbackList, History, Progress
from .data import ArraySource, Batch, IterableSource, is_iterable_of_batches, take
from .objective import Objective
from .optimizers import Optimizer

Array = np.ndarray
Source = ArraySource | IterableSource


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
        """Say what training minimises, and how.

        Args:
            optimizer: a name or an Optimizer.
            loss: a name or a Loss; a list or a dict by output name where there are several outputs.
            loss_weights: factors of the outputs' losses.
            metrics: names or Metrics; weighted_metrics: those that see the sample weights.
            on_nan: "raise" stops with FloatingPointError when the loss becomes NaN or infinite,
                with the weights as they were before that batch; "ignore" goes on.
        """
        if on_nan not in ("raise", "ignore"):
            raise ValueError(f"on_nan: expected 'raise' or 'ignore', got {on_nan!r}")
        optimizer = get("optimizer", optimizer)
        if optimizer is None:
            raise TypeError("optimizer: expected a name or an Optimizer, got None")
        settings = dict(loss=loss, loss_weights=loss_weights, metrics=metrics,
                        weighted_metrics=weighted_metrics, on_nan=on_nan)  # fmt: skip
        if self._is_built():
            self._objective = self._new_objective(settings)
            self._plan()
        else:
            Objective(["output"], loss, None, None, None)
            self._objective = None
        self.optimizer = optimizer
        self._compiled = settings

    def _is_built(self) -> bool:
        return bool(getattr(self, "_nodes", None))

    def _new_objective(self, settings: dict[str, Any]) -> Objective:
        names = [symbol.node.layer.name for symbol in self.outputs]
        return Objective(names, settings["loss"], settings["loss_weights"], settings["metrics"],
                         settings["weighted_metrics"])  # fmt: skip

    def _uncompile(self) -> None:
        """The architecture has changed: what was resolved for the old one goes."""
        self._objective = None

    def _require_compiled(self) -> Objective:
        if self._compiled is None:
            raise ValueError("model: expected a compiled one, call compile(optimizer, loss) first")
        if self._objective is None:
            self._objective = self._new_objective(self._compiled)
        return self._objective

    # --- one batch -----------------------------------------------------------------------------

    def _train(self, batch: Batch, objective: Objective) -> None:
        self._parameters = parameters = self._parameters.current()
        parameters.grads.fill(0)
        outputs, masks, tapes = self._forward(batch.x, training=True, keep=True)
        objective.resolve(batch.y, [o.shape for o in outputs])
        values, total, gradients = objective.gradients(batch.y, outputs, batch.weight, masks)
        total += self._penalty(tapes)
        if not math.isfinite(total) and self._compiled["on_nan"] == "raise":
            raise FloatingPointError(
                f"the loss became {total} in step {self.optimizer.iterations + 1}; the weights are "
                "those before it. A smaller learning rate or clipping (clipnorm) may help; "
                "compile(on_nan='ignore') goes on regardless"
            )
        self._backward(tapes, gradients)
        self._add_penalty_gradients()
        n = parameters.trained
        self.optimizer.apply(parameters.grads[:n], parameters.values[:n],
                             [s for s in parameters.segments if s[1] <= n])  # fmt: skip
        for part in self._parts_with("constraints"):
            for name, constraint in part.constraints.items():
                part.params[name][...] = constraint(part.params[name])
        objective.update(batch.y, outputs, batch.weight, masks, values, total, batch.rows)

    def _test(self, batch: Batch, objective: Objective) -> None:
        outputs, masks, _ = self._forward(batch.x, training=False, keep=False)
        objective.resolve(batch.y, [o.shape for o in outputs])
        values, total, _ = objective.gradients(batch.y, outputs, batch.weight, masks)
        total += self._penalty([])
        objective.update(batch.y, outputs, batch.weight, masks, values, total, batch.rows)

    def _parts_with(self, attribute: str) -> list[Any]:
        return [p for layer in self.layers for p in layer.trained() if getattr(p, attribute)]

    def _penalty(self, tapes: Sequence[Any]) -> float:
        """The regularizers' part of the loss."""
        total = sum(
            regularizer(part.params[name])
            for part in self._parts_with("regularizers")
            for name, regularizer in part.regularizers.items()
        )
        for step, (_, output) in zip(self._steps, tapes, strict=False):
            if output is not None:
                first = output[0] if isinstance(output, list) else output
                total += step.layer.activity_regularizer(first)
        return total

    def _add_penalty_gradients(self) -> None:
        for part in self._parts_with("regularizers"):
            for name, regularizer in part.regularizers.items():
                regularizer.add_gradient(part.params[name], part.grads[name])

    # --- what a user passes --------------------------------------------------------------------

    def _batch(self, x: Any, y: Any, weight: Any, class_weight: Any = None) -> Batch:
        """Arrays of equal length from x, y and the weights; y may be None."""
        self._require_built(x)
        arrays = self._arrays(x)
        rows = len(arrays[0])
        if y is None:
            return Batch(arrays, None, None, rows)
        labels = [numbers("y", a) for a in self._per_output("y", y)]
        for a in labels:
            if a.ndim == 0 or len(a) != rows:
                raise ValueError(f"y: expected {rows} rows, as many as x, got shape {a.shape}")
        weights = [None if w is None else numbers("sample_weight", w)
                   for w in self._per_output("sample_weight", weight)]  # fmt: skip
        for w in weights:
            if w is not None and (w.ndim == 0 or len(w) != rows):
                raise ValueError(f"sample_weight: expected {rows} rows, got shape {w.shape}")
        if class_weight is not None:
            if len(labels) > 1:
                raise ValueError("class_weight: expected None for a model of several outputs")
            factors = _class_weights(class_weight, labels[0], self.outputs[0].shape)
            weights = [factors if weights[0] is None else factors * weights[0]]
        return Batch(arrays, labels, weights if any(w is not None for w in weights) else None, rows)

    def _per_output(self, argument: str, value: Any) -> list[Any]:
        names = [symbol.node.layer.name for symbol in self.outputs]
        if isinstance(value, dict):
            if not set(value) <= set(names) or (argument == "y" and len(value) != len(names)):
                raise ValueError(f"{argument}: expected the keys {names}, got {list(value)}")
            return [value.get(name) for name in names]
        if len(names) == 1:
            return [value]
        if value is None:
            return [None] * len(names)
        if not isinstance(value, (list, tuple)) or len(value) != len(names):
            got = len(value) if isinstance(value, (list, tuple)) else type(value).__name__
            raise ValueError(f"{argument}: expected a list of {len(names)} arrays, got {got}")
        return list(value)

    def _source(self, x: Any, y: Any, weight: Any, class_weight: Any, batch_size: int | None,
                steps: int | None, need_y: bool = True) -> Source:  # fmt: skip
        if x is None:
            raise ValueError("x: expected arrays or an iterable of batches, got None")
        steps = None if steps is None else positive("steps", steps)
        if is_iterable_of_batches(x):
            if y is not None or weight is not None:
                raise ValueError("y: expected None beside an iterable x, whose batches are (x, y)")

            def convert(bx: Any, by: Any, bw: Any) -> Batch:
                if need_y and by is None:
                    raise ValueError("x: expected batches (x, y), got batches without y")
                return self._batch(bx, by, bw, class_weight if by is not None else None)

            return IterableSource(x, steps, convert)
        if need_y and y is None:
            raise ValueError("y: expected labels, got None")
        batch = self._batch(x, y if need_y else None, weight, class_weight)
        if batch.rows == 0 and need_y:
            raise ValueError("x: expected at least one row, got none")
        size = 32 if batch_size is None else positive("batch_size", batch_size)
        source = ArraySource(batch, size)
        if steps is not None:
            source.steps = min(steps, source.steps)
        return source

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
            validation_split: the last share of the rows is not trained on but evaluated after
                each epoch; validation_data: (x, y) or (x, y, sample_weight), or an iterable.
            shuffle: draw a new order of the rows in every epoch.
            class_weight: factors of the loss by class number; sample_weight: by row (B,) or
                by step (B, T).
            steps_per_epoch: batches of an epoch, for an iterable that does not end.
            validation_freq: evaluate after every so many epochs, or after those listed (from 1).

        Returns:
            History: `.history` has a list for "loss" and each metric, and with "val_" before.
        """
        epochs = positive("epochs", epochs)
        if validation_data is not None and validation_split:
            raise ValueError("validation_split: expected 0 beside validation_data, got both")
        validation_split = fraction("validation_split", validation_split)
        source = self._source(x, y, sample_weight, class_weight, batch_size, steps_per_epoch)
        validation = None
        if validation_split:
            if not isinstance(source, ArraySource):
                raise ValueError("validation_split: expected arrays, got an iterable x")
            held = int(source.rows * (1 - validation_split))
            if not 0 < held < source.rows:
                raise ValueError(f"validation_split: expected rows on both sides, got {held} of "
                                 f"{source.rows} for training")  # fmt: skip
            validation = ArraySource(take(source.data, slice(held, None)),
                                     validation_batch_size or source.batch_size)  # fmt: skip
            source = ArraySource(take(source.data, slice(0, held)), source.batch_size)
        elif validation_data is not None:
            parts = validation_data if isinstance(validation_data, (tuple, list)) else (
                validation_data, None)  # fmt: skip
            if not 2 <= len(parts) <= 3:
                raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight), got "
                                 f"{len(parts)} parts")  # fmt: skip
            validation = self._source(*parts, *[None] * (3 - len(parts)), None,
                                      validation_batch_size or batch_size,
                                      validation_steps)  # fmt: skip
        objective = self._require_compiled()
        for part in (source, validation):
            if isinstance(part, ArraySource) and not self._may_mask():
                objective.check(part.data.y, [symbol.shape for symbol in self.outputs])
        history = History()
        verbose = _verbose(verbose)
        shown = [Progress(verbose)] if verbose else []
        listed = [] if callbacks is None else callbacks
        listed = list(listed) if isinstance(listed, (list, tuple)) else [listed]
        call = CallbackList([*listed, *shown, history], self,
                            {"epochs": epochs, "steps": source.steps, "verbose": verbose})  # fmt: skip
        self.stop_training = False
        self.history = history
        logs: dict[str, float] = {}
        call("on_train_begin", None)
        try:
            for epoch in range(initial_epoch, epochs):
                logs = self._epoch(epoch, source, objective, shuffle, call)
                if validation is not None and _due(epoch + 1, validation_freq):
                    result = self._evaluate(validation, objective, call)
                    logs |= {f"val_{name}": value for name, value in result.items()}
                call("on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
        finally:
            call("on_train_end", logs)
        return history

    def _epoch(self, epoch: int, source: Source, objective: Objective, shuffle: bool,
               call: CallbackList) -> dict[str, float]:  # fmt: skip
        objective.reset()
        call("on_epoch_begin", epoch, None)
        for k, batch in enumerate(source.epoch(random.generator() if shuffle else None)):
            if source.steps is not None and k >= source.steps:
                break
            call("on_train_batch_begin", k, None)
            self._train(batch, objective)
            if call.wants("on_train_batch_end"):
                call("on_train_batch_end", k, objective.results())
            if self.stop_training:
                break
        return objective.results()

    def _evaluate(self, source: Source, objective: Objective, call: CallbackList
                  ) -> dict[str, float]:  # fmt: skip
        objective.reset()
        call("on_test_begin", None)
        for k, batch in enumerate(source.epoch()):
            if source.steps is not None and k >= source.steps:
                break
            call("on_test_batch_begin", k, None)
            self._test(batch, objective)
            if call.wants("on_test_batch_end"):
                call("on_test_batch_end", k, objective.results())
        logs = objective.results()
        call("on_test_end", logs)
        return logs

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None,
        verbose: int | str = "auto", sample_weight: Any = None, steps: int | None = None,
        callbacks: Any = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """The loss and the metrics on x, y: a number, a list, or a dict with `return_dict`."""
        source = self._source(x, y, sample_weight, None, batch_size, steps)
        objective = self._require_compiled()
        params = {"epochs": 1, "steps": source.steps, "verbose": verbose}
        logs = self._evaluate(source, objective, CallbackList(callbacks or [], self, params))
        return logs if return_dict else _as_list(logs)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = 0,
        steps: int | None = None, callbacks: Any = None,
    ) -> Any:  # fmt: skip
        """The outputs for x, batch by batch: an array, or a list of them for several outputs."""
        source = self._source(x, None, None, None, batch_size, steps, need_y=False)
        call = CallbackList(callbacks or [], self,
                            {"epochs": 1, "steps": source.steps, "verbose": verbose})  # fmt: skip
        call("on_predict_begin", None)
        if source.rows == 0:
            outputs, _, _ = self._forward(source.data.x, training=False, keep=False)
            return outputs if self.several_outputs else outputs[0]
        whole: list[Array] = []
        parts: list[list[Array]] = []
        done = 0
        for k, batch in enumerate(source.epoch()):
            if source.steps is not None and k >= source.steps:
                break
            call("on_predict_batch_begin", k, None)
            outputs, _, _ = self._forward(batch.x, training=False, keep=False)
            if source.rows is None:
                parts.append(outputs)
            else:
                if not whole:
                    rows = min(source.rows, source.steps * source.batch_size)
                    whole = [np.empty((rows, *o.shape[1:]), o.dtype) for o in outputs]
                for target, output in zip(whole, outputs, strict=True):
                    target[done : done + batch.rows] = output
            done += batch.rows
            call("on_predict_batch_end", k, None)
        call("on_predict_end", None)
        if source.rows is None:
            whole = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return whole if self.several_outputs else whole[0]

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """One step on one batch; the loss and the metrics of that batch."""
        batch = self._batch(x, y, sample_weight, class_weight)
        return self._single(batch, self._train, return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics of one batch."""
        return self._single(self._batch(x, y, sample_weight), self._test, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch."""
        return self(x)

    def _single(self, batch: Batch, run: Any, return_dict: bool) -> Any:
        if batch.y is None:
            raise ValueError("y: expected labels, got None")
        if batch.rows == 0:
            raise ValueError("x: expected at least one row, got none")
        objective = self._require_compiled()
        objective.reset()
        run(batch, objective)
        logs = objective.results()
        return logs if return_dict else _as_list(logs)

    def _may_mask(self) -> bool:
        """Whether steps may be masked, whose labels then do not matter."""
        return any(
            step.mask is not None or type(step.layer).__name__ in ("Masking", "Embedding")
            for step in self._steps
        )


def _as_list(logs: dict[str, float]) -> Any:
    values = list(logs.values())
    return values if len(values) > 1 else values[0]


def _due(epoch: int, frequency: int | Sequence[int]) -> bool:
    if isinstance(frequency, (list, tuple, set)):
        return epoch in frequency
    return epoch % positive("validation_freq", frequency) == 0


def _verbose(verbose: int | str) -> int:
    if verbose == "auto":
        import sys

        return 1 if sys.stdout.isatty() else 2
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
    return int(verbose)


def _class_weights(class_weight: Any, y: Array, output_shape: Any) -> Array:
    """The factor of each row, or step, from its class."""
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight: expected a dict, got {type(class_weight).__name__}")
    classes = output_shape[-1]
    if y.ndim == len(output_shape) and y.shape[-1] == classes and classes > 1:
        number = y.argmax(axis=-1)  # one-hot labels
    else:
        number = y[..., 0] if y.ndim == len(output_shape) else y
        number = number.astype(np.int64)
    table = np.ones(max([int(number.max(initial=0)), *class_weight]) + 1, np.float32)
    for key, factor in class_weight.items():
        if isinstance(key, bool) or not isinstance(key, (int, np.integer)) or key < 0:
            raise ValueError(f"class_weight: expected class numbers as keys, got {key!r}")
        table[key] = factor
    return table[number]
