"""What all optimizers do: learning rate, clipping, weight decay, accumulation, averages, state."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .._arrays import boolean, integer, number, positive, share, whole
from .._kernels import _optim
from .._serialize import Configurable
from ..schedules import LearningRateSchedule

Array = np.ndarray


class Weight(NamedTuple):
    """One weight array of those in the flat array of parameters.

    begin, end: where it is there. name: "layer/weight". row: the numbers of a row, if its rows are
    looked up, so that most have no gradient in a step (embeddings); else 0.
    """

    begin: int
    end: int
    name: str = ""
    row: int = 0


Weights = Sequence[Weight]


class Optimizer(Configurable):
    """Base of all optimizers.

    Args:
        learning_rate: a positive number, or a schedule of `clstm.schedules`.
        weight_decay: share of the parameters, times the learning rate, that each step takes away
            from them (decoupled, Loshchilov & Hutter 2019); None for none.
        clipnorm: each weight array's gradient is scaled down to this L2 norm.
        clipvalue: each gradient element is cut to -clipvalue .. clipvalue.
        global_clipnorm: the gradient as a whole is scaled down to this L2 norm.
        use_ema: keep an exponential moving average of the parameters, slot "average": after each
            call ema_momentum times itself + (1 - ema_momentum) times the parameters. `fit` ends
            with the average as the weights.
        ema_momentum: 0 .. 1. Default 0.99.
        ema_overwrite_frequency: every so many steps the parameters become the average; None: never.
        gradient_accumulation_steps: a step is taken at every so many calls, at least 2, by the mean
            of their gradients; None: at each call. Schedules count calls, `iterations` steps.

    At most one of the three clippings may be given.
    """

    kind = "optimizer"
    slot_names: ClassVar[tuple[str, ...]] = ()
    watches_validation = False  # `fit` has to validate, and calls `observe`

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
    ):
        self.learning_rate = learning_rate
        self.weight_decay = _optional("weight_decay", weight_decay)
        self.clipnorm = _optional("clipnorm", clipnorm)
        self.clipvalue = _optional("clipvalue", clipvalue)
        self.global_clipnorm = _optional("global_clipnorm", global_clipnorm)
        given = [n for n in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: expected None beside {given[0]}, got both")
        self.use_ema = boolean("use_ema", use_ema)
        self.ema_momentum = share("ema_momentum", ema_momentum)
        if ema_overwrite_frequency is not None:
            positive("ema_overwrite_frequency", ema_overwrite_frequency)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        steps = gradient_accumulation_steps
        if steps is not None and integer("gradient_accumulation_steps", steps) < 2:
            raise ValueError(f"gradient_accumulation_steps: expected at least 2, got {steps}")
        self.gradient_accumulation_steps = steps
        self.iterations = 0
        self.accumulated = 0  # gradients in the slot of that name
        self.exchanged = False  # whether the parameters and their average have changed places
        self.excluded: list[str] = []  # patterns of weights that do not decay
        self.slots: dict[str, Array] = {}

    @property
    def learning_rate(self) -> float | LearningRateSchedule:
        """The number or the schedule."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | LearningRateSchedule) -> None:
        if not isinstance(value, LearningRateSchedule):
            value = number("learning_rate", value, above=0)
        self._learning_rate = value

    def current_learning_rate(self) -> float:
        """The number that the next step uses.

        Raises:
            ValueError, TypeError: the schedule gives what is no finite number of at least 0.
        """
        return self.learning_rate_after(0)

    def learning_rate_after(self, calls: int) -> float:
        """`current_learning_rate` after so many further calls of `apply`."""
        rate = self._learning_rate
        if not isinstance(rate, LearningRateSchedule):
            return rate
        step = self.iterations * (self.gradient_accumulation_steps or 1) + self.accumulated + calls
        return number(f"learning_rate: {type(rate).__name__} at step {step}", rate(step), least=0)

    def exclude_from_weight_decay(self, var_names: Sequence[str]) -> None:
        """Let weights keep their size whose name, "layer/weight", one of these patterns occurs in.

        var_names: regular expressions, as ["bias"] or ["embedding/", "norm"]; [] for no exception.
            They are saved with the model.
        """
        if isinstance(var_names, str) or not all(isinstance(name, str) for name in var_names):
            raise TypeError(f"var_names: expected a list of strings, got {var_names!r}")
        for pattern in var_names:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"var_names: expected patterns, got {pattern!r}: {error}"
                                 ) from error  # fmt: skip
        self.excluded = list(var_names)

    def apply(self, grads: Array, params: Array, weights: Weights | None = None) -> None:
        """One step: change `params` (n,) in place by `grads` (n,), which may be overwritten.

        weights: the arrays they consist of; None: of one without a name.
        """
        for name, slot in self.slots.items():
            if slot.shape != params.shape or slot.dtype != params.dtype:
                raise ValueError(f"optimizer: expected a new one for these weights, got one whose "
                                 f"{name} has {slot.dtype} {slot.shape} for {params.dtype} "
                                 f"{params.shape}: compile the model again")  # fmt: skip
        if grads.shape != params.shape or grads.dtype != params.dtype:
            raise ValueError(f"grads: expected {params.dtype} {params.shape}, got {grads.dtype} "
                             f"{grads.shape}")  # fmt: skip
        weights = weights or [Weight(0, grads.size)]
        decaying = self._decaying(weights)
        rate = self.current_learning_rate()
        if not self.slots:
            self.start(params)
        done = self.iterations
        if self._gather(grads):
            self._clip(grads, weights)
            for begin, end in decaying:
                _optim.scale(params[begin:end], 1 - rate * (self.weight_decay or 0))
            self._step(params, grads, rate, weights)
            self.iterations += 1
        if self.use_ema:
            average = self.slots["average"]
            _optim.average(average, params, 1 - self.ema_momentum if done else 1)
            if self.ema_overwrite_frequency and (done + 1) % self.ema_overwrite_frequency == 0:
                params[...] = average

    def start(self, params: Array) -> None:
        """Make the slots for parameters of this size, at their first values."""
        names = [*self.slot_names, *(["average"] if self.use_ema else []),
                 *(["accumulated"] if self.gradient_accumulation_steps else [])]  # fmt: skip
        self.slots = {name: np.zeros_like(params) for name in names}

    def observe(self, loss: float) -> None:
        """Take the loss of a validation, where that matters: `watches_validation`."""

    def finalize_variable_values(self, params: Array) -> None:
        """Let `params` be the average of the training, if one is kept."""
        if not self.use_ema or not self.slots:
            return
        if self.exchanged:
            self.exchange(params)
        params[...] = self.slots["average"]

    def exchange(self, params: Array) -> None:
        """Let `params` and their average of `use_ema` change places, if there is one yet."""
        if self.slots:
            average, kept = self.slots["average"], params.copy()
            params[...] = average
            average[...] = kept
            self.exchanged = not self.exchanged

    def get_state(self) -> dict[str, Any]:
        """All that the next steps depend on beside the arguments and the slots, as JSON values."""
        return {
            "iterations": self.iterations,
            "accumulated": self.accumulated,
            "exchanged": self.exchanged,
            "excluded": self.excluded,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` gave; what is not there stays.

        Raises:
            ValueError, TypeError: there is something else among it; nothing was set.
        """
        unknown = sorted(state.keys() - self.get_state().keys())
        if unknown:
            raise ValueError(f"optimizer: expected a state of {type(self).__name__}, got {unknown}")
        counts = {k: whole(k, state[k]) for k in ("iterations", "accumulated") if k in state}
        exchanged = boolean("exchanged", state.get("exchanged", self.exchanged))
        self.exclude_from_weight_decay(state.get("excluded", self.excluded))
        self.exchanged = exchanged
        for name, count in counts.items():
            setattr(self, name, count)

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _step")

    def _gather(self, grads: Array) -> bool:
        """Whether a step is due, by `grads`, which is then the mean of those gathered."""
        steps = self.gradient_accumulation_steps
        if steps is None:
            return True
        total = self.slots["accumulated"]
        if self.accumulated < steps - 1:
            total += grads
            self.accumulated += 1
            return False
        grads += total
        _optim.scale(grads, 1 / steps)
        total.fill(0)
        self.accumulated = 0
        return True

    def _decaying(self, weights: Weights) -> list[tuple[int, int]]:
        """Where parameters decay."""
        if not self.weight_decay:
            return []
        if not self.excluded:
            return [(0, weights[-1].end)]
        if not all(weight.name for weight in weights):
            raise ValueError("weights: expected their names, to exclude some from weight decay, "
                             "got none")  # fmt: skip
        excluded = re.compile("|".join(f"(?:{pattern})" for pattern in self.excluded))
        return [(w.begin, w.end) for w in weights if not excluded.search(w.name)]

    def _clip(self, grads: Array, weights: Weights) -> None:
        if self.clipvalue is not None:
            np.clip(grads, -self.clipvalue, self.clipvalue, out=grads)
        elif self.clipnorm is not None:
            for begin, end, *_ in weights:
                _shrink(grads[begin:end], self.clipnorm)
        elif self.global_clipnorm is not None:
            _shrink(grads, self.global_clipnorm)


def norm(array: Array) -> float:
    """The L2 norm, summed up in float64."""
    return math.sqrt(float(np.square(array, dtype=np.float64).sum()))


def _shrink(grads: Array, limit: float) -> None:
    """Scale to the L2 norm `limit` what is longer."""
    length = norm(grads)
    if length > limit:
        _optim.scale(grads, limit / length)


def _optional(name: str, value: Any) -> float | None:
    return None if value is None or value is False else number(name, value, above=0)
