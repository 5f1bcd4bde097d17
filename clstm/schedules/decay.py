"""Rates that fall: exponentially, as 1 / step, as a polynomial, in stairs."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from .._arrays import number
from .._serialize import register
from .base import LearningRateSchedule, rate


@register("schedule")
class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    Args:
        initial_learning_rate: number >= 0, the rate at step 0.
        decay_steps: number > 0.
        decay_rate: number >= 0, the factor per decay_steps.
        staircase: floor step / decay_steps to a whole number. Default False.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.decay_rate = number("decay_rate", decay_rate, least=0)
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
        initial_learning_rate: number >= 0, the rate at step 0.
        decay_steps: number > 0.
        decay_rate: number >= 0.
        staircase: floor step / decay_steps to a whole number. Default False.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.decay_rate = number("decay_rate", decay_rate, least=0)
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
        initial_learning_rate: number >= 0, the rate at step 0.
        decay_steps: number > 0.
        end_learning_rate: number >= 0. Default 0.0001.
        power: number >= 0. Default 1.
        cycle: bool. Default False.

    Raises:
        TypeError, ValueError: an argument is none of these.
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
        self.initial_learning_rate = rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.end_learning_rate = rate("end_learning_rate", end_learning_rate)
        self.power = number("power", power, least=0)
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> float:
        p = step / self.decay_steps
        p = p / max(1, math.ceil(p)) if self.cycle else min(p, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return span * (1.0 - p) ** self.power + self.end_learning_rate


@register("schedule")
class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] while boundaries[i - 1] < step <= boundaries[i].

    Args:
        boundaries: strictly increasing steps, at least one.
        values: numbers >= 0, one more than boundaries.

    Raises:
        TypeError, ValueError: an argument is none of these, or the lengths do not fit.
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
        self.boundaries = [number(f"boundaries[{k}]", b) for k, b in enumerate(boundaries)]
        self.values = [rate(f"values[{k}]", value) for k, value in enumerate(values)]
        self.name = name

    def __call__(self, step: int) -> float:
        return float(self.values[bisect_left(self.boundaries, step)])
