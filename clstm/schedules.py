"""Learning rates that change with the optimizer's step.

A schedule is called with the number of steps already taken (0 at the first) and returns a float.
Arguments and formulas are those of Keras 3; `name` is kept for its signature and has no effect.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from . import _serialize
from ._arrays import number
from ._serialize import Configurable, register


class LearningRateSchedule(Configurable):
    """Base of all schedules: `schedule(step) -> float`."""

    kind = "schedule"

    def __call__(self, step: int) -> float:
        """Returns the learning rate of the step after `step` finished steps."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")


@register("schedule")
class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    Args:
        initial_learning_rate: float, the rate at step 0.
        decay_steps: number > 0.
        decay_rate: float, the factor per decay_steps.
        staircase: floor step / decay_steps to a whole number. Default False.

    Raises:
        ValueError: decay_steps <= 0.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        p = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (
            math.floor(p) if self.staircase else p
        )


@register("schedule")
class InverseTimeDecay(LearningRateSchedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    Args:
        initial_learning_rate: float, the rate at step 0.
        decay_steps: number > 0.
        decay_rate: float.
        staircase: floor step / decay_steps to a whole number. Default False.

    Raises:
        ValueError: decay_steps <= 0.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        p = step / self.decay_steps
        return self.initial_learning_rate / (
            1.0 + self.decay_rate * (math.floor(p) if self.staircase else p)
        )


@register("schedule")
class PolynomialDecay(LearningRateSchedule):
    """(initial - end) * (1 - step / decay_steps) ** power + end, held at end afterwards.

    With `cycle`, decay_steps is multiplied by max(1, ceil(step / decay_steps)) instead, so that
    the rate rises again at each multiple.

    Args:
        initial_learning_rate: float, the rate at step 0.
        decay_steps: number > 0.
        end_learning_rate: float. Default 0.0001.
        power: float. Default 1.
        cycle: bool. Default False.

    Raises:
        ValueError: decay_steps <= 0.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> float:
        p = step / self.decay_steps
        p = p / max(1, math.ceil(p)) if self.cycle else min(p, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return span * (1.0 - p) ** self.power + self.end_learning_rate


@register("schedule")
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate down to alpha times it, after an optional warm-up.

    decay(p) = ((1 - alpha) * 0.5 * (1 + cos(pi p)) + alpha) * start, p = min(step / decay_steps, 1)

    Without `warmup_target`, start = initial_learning_rate. With it, the rate first goes linearly
    from initial_learning_rate to warmup_target in warmup_steps, then start = warmup_target and
    steps count from the end of the warm-up. Source: Loshchilov and Hutter 2017, SGDR.

    Args:
        initial_learning_rate: float, the rate at step 0.
        decay_steps: number > 0, without the warm-up.
        alpha: float, the last rate as a fraction of start. Default 0.
        warmup_target: float or None. Default None.
        warmup_steps: int >= 0. Default 0.

    Raises:
        ValueError: decay_steps <= 0 or warmup_steps < 0.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be >= 0, received {warmup_steps}")
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        start = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return start + (self.warmup_target - start) * (step / self.warmup_steps)
            start = self.warmup_target
            step -= self.warmup_steps
        p = min(step / self.decay_steps, 1.0)
        return start * ((1.0 - self.alpha) * 0.5 * (1.0 + math.cos(math.pi * p)) + self.alpha)


@register("schedule")
class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] while boundaries[i - 1] < step <= boundaries[i].

    Args:
        boundaries: strictly increasing steps, at least one.
        values: rates, one more than boundaries.

    Raises:
        ValueError: the lengths do not fit, or boundaries do not increase.
    """

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        boundaries, values = list(boundaries), list(values)
        if not boundaries or len(values) != len(boundaries) + 1:
            raise ValueError(
                "values must have one element more than boundaries, and boundaries at least one, "
                f"received {len(values)} values and {len(boundaries)} boundaries"
            )
        if any(b <= a for a, b in pairwise(boundaries)):
            raise ValueError(f"boundaries must increase strictly, received {boundaries}")
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step: int) -> float:
        return float(self.values[bisect_left(self.boundaries, step)])


def get(identifier: Any) -> LearningRateSchedule | None:
    """Returns the schedule for None, a config dict or an instance.

    Raises:
        ValueError: malformed dict, or a name (every schedule needs arguments).
        TypeError: any other type.
    """
    return _serialize.get("schedule", identifier)
