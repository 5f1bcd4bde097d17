"""Learning rates that change with the optimizer's step.

A schedule is called with the number of steps already taken (0 at the first) and returns a float.
Arguments and formulas are those of Keras 3; `name` is kept for its signature and has no effect.
`OneCycle`, which Keras does not have, is PyTorch's.
"""

from .base import LearningRateSchedule, get
from .cosine import CosineDecay, CosineDecayRestarts, OneCycle
from .decay import ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay",
    "LearningRateSchedule", "OneCycle", "PiecewiseConstantDecay", "PolynomialDecay", "get",
]  # fmt: skip
