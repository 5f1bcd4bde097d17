"""One training step, one epoch, one evaluation: what runs when all arguments have been read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import random
from .callbacks import CallbackList
from .data.batches import Batch, Source
from .objective import Objective

Array = np.ndarray


def train_step(model: Any, batch: Batch, objective: Objective) -> None:
    """Change the weights by one batch; FloatingPointError, before any change, for a NaN loss."""
    executor, optimizer = model._executor, model.optimizer
    model._parameters = parameters = model._parameters.current()
    parameters.grads.fill(0)
    outputs, masks, tapes, penalty = executor.forward(batch.x, training=True, keep=True)
    values, total, gradients = objective.gradients(batch.y, outputs, batch.weight, masks)
    total += penalty + executor.penalty()
    if not math.isfinite(total) and model._compiled["on_nan"] == "raise":
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


def test_step(model: Any, batch: Batch, objective: Objective) -> None:
    """Take a batch into the objective's means, and change nothing else."""
    executor = model._executor
    outputs, masks, _, penalty = executor.forward(batch.x)
    values, total, _ = objective.gradients(batch.y, outputs, batch.weight, masks)
    total += penalty + executor.penalty()
    objective.update(batch.y, outputs, batch.weight, masks, values, total, batch.rows)


def train_epoch(
    model: Any, source: Source, objective: Objective, shuffle: bool, call: CallbackList
) -> int:
    """Train on the batches of one epoch; returns their number."""
    objective.reset()
    begins, ends = call.wants("on_train_batch_begin"), call.wants("on_train_batch_end")
    steps = 0
    for batch in source.epoch(random.generator() if shuffle else None):
        if begins:
            call("on_train_batch_begin", steps, {})
        train_step(model, batch, objective)
        if ends:
            call("on_train_batch_end", steps, objective.results())
        steps += 1
        if model.stop_training:
            break
    return steps


def evaluate(
    model: Any, source: Source, objective: Objective, call: CallbackList
) -> dict[str, float]:
    """The loss and the metrics of all batches."""
    objective.reset()
    call("on_test_begin", {})
    steps = 0
    for batch in source.epoch():
        call("on_test_batch_begin", steps, {})
        test_step(model, batch, objective)
        if call.wants("on_test_batch_end"):
            call("on_test_batch_end", steps, objective.results())
        steps += 1
    if source.ran_out:
        raise ValueError(f"x: expected {source.steps or 'more'} batches, got {steps}")
    logs = objective.results()
    call("on_test_end", logs)
    return logs


def outputs_of(model: Any, source: Source, call: CallbackList) -> Iterator[list[Array]]:
    """The outputs for each batch."""
    for k, batch in enumerate(source.epoch()):
        call("on_predict_batch_begin", k, {})
        outputs = model._executor.forward(batch.x)[0]
        call("on_predict_batch_end", k, {"outputs": outputs})
        yield outputs
