"""Optimizers: Keras 3's names, arguments, defaults and update rules; RAdam's are PyTorch's.

An optimizer sees a model as one flat array of parameters and one of gradients; a step is one pass
over both in C. t counts the steps from 1, g is the gradient after clipping.
"""

from .adam import Adam, Adamax, AdamW, Nadam, RAdam
from .averaged import NTASGD
from .base import Optimizer, Weight
from .lamb import Lamb
from .lazy import LazyAdam
from .lion import Lion
from .scaled import Adadelta, Adagrad, RMSprop
from .sgd import SGD

__all__ = [
    "NTASGD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lamb", "LazyAdam", "Lion",
    "Nadam", "Optimizer", "RAdam", "RMSprop", "Weight",
]  # fmt: skip
