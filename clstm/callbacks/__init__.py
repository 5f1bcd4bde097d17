"""Callbacks: what may happen beside the training; one per file."""

from .backup import BackupAndRestore
from .base import Callback, CallbackList
from .history import History
from .progress import Progress

__all__ = ["BackupAndRestore", "Callback", "CallbackList", "History", "Progress"]
