"""Models: a graph of layers (`Model`), a chain of them (`Sequential`)."""

from .model import Model
from .sequential import Sequential

__all__ = ["Model", "Sequential"]
