"""Optimizers: Keras 3's names, arguments, defaults and update rules.

An optimizer sees a model as one flat array of parameters and one of gradients; a step is one pass
over both in C. t counts the steps from 1, g is the gradient after clipping.
"""

from .adam import Adam, AdamW
from .base import Optimizer
from .scaled import Adagrad, RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]
