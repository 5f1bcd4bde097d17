"""Which learning rate suits a model and its data: `find_learning_rate(model, x, y)`."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import loop, random
from ._arrays import fraction, integer, number
from .data.sources import open_source
from .models import Model
from .objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
RISE = 3.0  # of the loss, times its smallest size: the search is over


class LearningRates(NamedTuple):
    """What `find_learning_rate` found.

    rates, losses (n,): the learning rate of each step, and the loss of its batch before the step.
    smoothed (n,): an exponential moving average of the losses, corrected for its start.
    suggestion: a tenth of the rate at which `smoothed` is smallest; None if that is among the first
        1 / (1 - smoothing) steps, of which it knows too few.
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float | None

    def plot(self, path: Any = None) -> Figure:
        """Draw the losses over the rates, and the suggestion.

        path: where to save it too, as .png, .svg or .pdf; None saves nothing.

        Raises:
            ImportError: matplotlib, the extra `plot`, is not installed.
        """
        from ._rates_plot import draw

        return draw(self, path)


def find_learning_rate(
    model: Model, x: Any, y: Any = None, sample_weight: Any = None, *, lowest: float = 1e-6,
    highest: float = 10.0, steps: int = 100, batch_size: int | None = None,
    smoothing: float = 0.9,
) -> LearningRates:  # fmt: skip
    """Train for some steps with a learning rate that grows at each, and watch the loss
    (Smith 2017, the range test).

    The steps are those of `fit`, with a copy of the model's optimizer. Weights, optimizer, states
    of layers and random numbers are afterwards what they were, also after an error or Ctrl-C. The
    search ends when the smoothed loss is 4 times its smallest, or a loss is no number.

    Args:
        model: built and compiled.
        x, y, sample_weight, batch_size: as in `fit`. Rows are taken in a random order, as often as
            it needs; the batches that are read from an iterator are gone.
        lowest, highest: the first and the last rate, 0 < lowest < highest.
        steps: at least 10. Default 100.
        smoothing: share of the average that stays at each step, 0 <= smoothing < 1.

    Raises:
        TypeError, ValueError: an argument is none of these, or there are fewer than 10 batches.
        FloatingPointError: the loss is no number at once.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a Sequential or a Model, got {type(model).__name__}")
    lowest = number("lowest", lowest, above=0)
    highest = number("highest", highest, above=lowest)
    if integer("steps", steps) < 10:
        raise ValueError(f"steps: expected at least 10, got {steps}")
    smoothing = fraction("smoothing", smoothing)
    model._require_built()
    model._require_compiled()
    source = open_source(model, x, y, sample_weight, batch_size, steps, goes_on=True)
    settings: Any = model._compiled
    objective = Objective(model._output_names(), settings["loss"], settings["loss_weights"],
                          None, None)  # fmt: skip
    model._check(objective, source)
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    before = _State(model)
    try:
        model.optimizer = copy.deepcopy(model.optimizer)
        average = 0.0
        batches = source.epoch(random.next_key)
        for k, (rate, batch) in enumerate(zip(rates, batches, strict=False)):
            model.optimizer.learning_rate = float(rate)
            objective.reset()
            try:
                with np.errstate(all="ignore"):
                    loop.train_step(model, batch, objective)
            except FloatingPointError:
                if not k:
                    raise
                break
            loss = objective.results()["loss"]
            if not math.isfinite(loss):
                break
            average = smoothing * average + (1 - smoothing) * loss
            losses.append(loss)
            smoothed.append(average / (1 - smoothing ** (k + 1)))
            if k >= 10 and smoothed[-1] > min(smoothed) + RISE * abs(min(smoothed)):
                break
    finally:
        before.restore()
    if source.ran_out and len(losses) < 10:
        raise ValueError(f"x: expected at least 10 batches, got {len(losses)}")
    rates = rates[: len(losses)]
    return LearningRates(rates, np.array(losses), np.array(smoothed),
                         _suggest(rates, smoothed, round(1 / (1 - smoothing))))  # fmt: skip


def _suggest(rates: Array, smoothed: list[float], first: int) -> float | None:
    lowest = int(np.argmin(smoothed)) if smoothed else 0
    return None if lowest <= first else float(rates[lowest]) / 10


class _State:
    """What a training step changes in a model."""

    def __init__(self, model: Any):
        self.model, self.optimizer, self.random = model, model.optimizer, random.get_state()
        self.keys = [(keys, keys.calls) for keys in model._keys]
        self.weights = [weight.copy() for weight in model.weights]
        self.carried = [layer.state and tuple(a.copy() for a in layer.state)
                        for layer in model._executor.stateful()]  # fmt: skip

    def restore(self) -> None:
        self.model.optimizer = self.optimizer
        for weight, value in zip(self.model.weights, self.weights, strict=True):
            weight[...] = value
        for layer, state in zip(self.model._executor.stateful(), self.carried, strict=True):
            layer.state = state
        random.set_state(self.random)
        for keys, calls in self.keys:
            keys.calls = calls
