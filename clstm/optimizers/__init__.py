"""Optimizers: Keras 3's names, arguments, defaults and update rules; RAdam's are PyTorch's.

An optimizer sees a model as one flat array of parameters and one of gradients; a step is one pass
over both in C. t counts the steps from 1, g is the gradient after clipping.
"""

from .adam import Adam, Adamax, AdamW, Nadam, RAdam
from .averaged import NTASGD
from .base import Optimizer
from .lamb import Lamb
from .lion import Lion
from .scaled import Adadelta, Adagrad, RMSprop
from .sgd import SGD

__all__ = [
    "NTASGD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lamb", "Lion", "Nadam",
    "Optimizer", "RAdam", "RMSprop",
]  # fmt: skip
