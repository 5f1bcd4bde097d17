"""Rates along half a cosine: once, again and again, up and down."""

from __future__ import annotations

import math

from .._arrays import number, positive, share, whole
from .._serialize import register
from .base import LearningRateSchedule, rate


@register("schedule")
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate down to alpha times it, after an optional warm-up.

    decay(p) = ((1 - alpha) * 0.5 * (1 + cos(pi p)) + alpha) * start, p = min(step / decay_steps, 1)

    Without `warmup_target`, start = initial_learning_rate. With it, the rate first goes linearly
    from initial_learning_rate to warmup_target in warmup_steps, then start = warmup_target and
    steps count from the end of the warm-up. Source: Loshchilov and Hutter 2017, SGDR.

    Args:
        initial_learning_rate: number >= 0, the rate at step 0.
        decay_steps: number > 0, without the warm-up.
        alpha: number >= 0, the last rate as a fraction of start. Default 0.
        warmup_target: number >= 0 or None. Default None.
        warmup_steps: int >= 0. Default 0.

    Raises:
        TypeError, ValueError: an argument is none of these.
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
        self.initial_learning_rate = rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = number("decay_steps", decay_steps, above=0)
        self.alpha = number("alpha", alpha, least=0)
        self.name = name
        self.warmup_target = None if warmup_target is None else rate("warmup_target", warmup_target)
        self.warmup_steps = whole("warmup_steps", warmup_steps)

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
class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine, again and again (Loshchilov and Hutter 2017, SGDR).

    Period i has first_decay_steps * t_mul ** i steps. In it, at the share p of its steps, the rate
    is ((1 - alpha) * 0.5 * m_mul ** i * (1 + cos(pi p)) + alpha) * initial_learning_rate.

    Args:
        initial_learning_rate: number >= 0, the rate at step 0.
        first_decay_steps: number > 0.
        t_mul: number >= 1, what a period is longer than the one before. Default 2.
        m_mul: number >= 0, what its first rate is times that of the one before. Default 1.
        alpha: number >= 0, the last rate as a fraction of the first. Default 0.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = rate("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = number("first_decay_steps", first_decay_steps, above=0)
        self.t_mul = number("t_mul", t_mul, least=1)
        self.m_mul = number("m_mul", m_mul, least=0)
        self.alpha = number("alpha", alpha, least=0)
        self.name = name

    def __call__(self, step: int) -> float:
        length, period, within = self.first_decay_steps, 0, float(step)
        if self.t_mul == 1:
            period, within = int(step // length), step % length
        else:
            while within >= length:
                within -= length
                length *= self.t_mul
                period += 1
        wave = 0.5 * self.m_mul**period * (1.0 + math.cos(math.pi * within / length))
        return self.initial_learning_rate * ((1.0 - self.alpha) * wave + self.alpha)


@register("schedule")
class OneCycle(LearningRateSchedule):
    """Up along half a cosine and down along another (Smith and Topin 2018), as in PyTorch.

    From max_learning_rate / div_factor at step 0 up to max_learning_rate at step
    pct_start * total_steps - 1, down to the first rate / final_div_factor at step total_steps - 1,
    which is held afterwards.

    Args:
        max_learning_rate: number > 0.
        total_steps: int >= 1, of the whole training.
        pct_start: number in 0 .. 1, the share of the steps that go up. Default 0.3.
        div_factor: number > 0. Default 25.
        final_div_factor: number > 0. Default 10,000.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.max_learning_rate = number("max_learning_rate", max_learning_rate, above=0)
        self.total_steps = positive("total_steps", total_steps)
        self.pct_start = share("pct_start", pct_start)
        self.div_factor = number("div_factor", div_factor, above=0)
        self.final_div_factor = number("final_div_factor", final_div_factor, above=0)

    def __call__(self, step: int) -> float:
        first = self.max_learning_rate / self.div_factor
        top, end = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if step <= top > 0:
            return _between(first, self.max_learning_rate, step / top)
        p = min((step - top) / (end - top), 1.0) if end > top else 1.0
        return _between(self.max_learning_rate, first / self.final_div_factor, p)


def _between(start: float, end: float, p: float) -> float:
    """The share p of half a cosine from `start` to `end`."""
    return end + (start - end) / 2 * (1.0 + math.cos(math.pi * p))
