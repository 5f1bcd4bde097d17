"""One training step, one epoch, one evaluation: what runs when all arguments have been read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import random
from ._interrupts import Whole
from .callbacks import CallbackList
from .data.batches import Batch, Source
from .objective import Objective

Array = np.ndarray


class Window(NamedTuple):
    """Which part of a batch of sequences a training step is about, and how it counts."""

    context: int = 0  # steps at the beginning that have no labels
    share: float = 1.0  # of the sequences' steps
    shares: Sequence[float] | None = None  # of what the loss of each output counts; None: all


WHOLE = Window()


def train_step(model: Any, batch: Batch, objective: Objective, window: Window = WHOLE) -> None:
    """Change the weights by one batch; FloatingPointError, before any change, for a NaN loss."""
    executor, optimizer = model._executor, model.optimizer
    optimizer.current_learning_rate()  # raises for a schedule that gives no rate
    model._parameters = parameters = model._parameters.current()
    parameters.grads.fill(0)
    outputs, masks, tapes, penalty = executor.forward(batch.x, training=True, keep=True)
    context, share, shares = window
    if context:
        outputs = [o[:, context:] for o in outputs]
        masks = [None if m is None else m[:, context:] for m in masks]
    # Before any weight changes: a metric that does not fit the outputs raises here.
    objective.update_metrics(batch.y, outputs, batch.weight, masks, share)
    free = None if context else executor.free
    values, total, gradients = objective.gradients(batch.y, outputs, batch.weight, masks, shares,
                                                   free)  # fmt: skip
    total += penalty + share * executor.penalty()
    if not math.isfinite(total) and model._compiled["on_nan"] == "raise":
        raise FloatingPointError(
            f"the loss became {total} in step {optimizer.iterations + 1}; the weights are "
            "those before it. A smaller learning rate or clipping (clipnorm) may help; "
            "compile(on_nan='ignore') goes on regardless"
        )
    objective.update_losses(values, total, batch.y, share)
    if context:
        gradients = [None if g is None else _after(g, context) for g in gradients]
    executor.backward(tapes, gradients)
    executor.add_penalty_gradients(share)
    n = parameters.trained
    with Whole():
        optimizer.apply(parameters.grads[:n], parameters.values[:n], parameters.trained_weights)
        executor.constrain()


def _after(gradient: Array, context: int) -> Array:
    """`gradient` (B, n, ...) after as many steps without one."""
    batch, time, *rest = gradient.shape
    whole = np.zeros((batch, context + time, *rest), gradient.dtype)
    whole[:, context:] = gradient
    return whole


def test_step(model: Any, batch: Batch, objective: Objective) -> None:
    """Take a batch into the objective's means, and change nothing else."""
    executor = model._executor
    outputs, masks, _, penalty = executor.forward(batch.x)
    objective.update_metrics(batch.y, outputs, batch.weight, masks)
    values, total, _ = objective.gradients(batch.y, outputs, batch.weight, masks,
                                           free=executor.free)  # fmt: skip
    objective.update_losses(values, total + penalty + executor.penalty(), batch.y)


def train_epoch(
    model: Any, source: Source, objective: Objective, shuffle: bool, call: CallbackList,
    step: Callable[[Any, Batch, Objective], None] = train_step, done: int = 0,
) -> int:  # fmt: skip
    """Train on the batches of one epoch, by `step` on each; returns their number.

    done: so many of them were trained on before, and `source` and `objective` stand behind them.
    """
    if not done:
        objective.reset()
    begins, ends = call.wants("on_train_batch_begin"), call.wants("on_train_batch_end")
    reads = call.reads_batch_logs
    steps = done
    for batch in source.epoch(random.next_key if shuffle else None, done):
        if begins:
            call("on_train_batch_begin", steps, {})
        step(model, batch, objective)
        if ends:
            call("on_train_batch_end", steps, objective.results() if reads else {})
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
