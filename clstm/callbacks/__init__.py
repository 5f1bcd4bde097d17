"""Callbacks: what may happen beside the training; one per file."""

from .base import Callback, CallbackList
from .history import History
from .progress import Progress

__all__ = ["Callback", "CallbackList", "History", "Progress"]
