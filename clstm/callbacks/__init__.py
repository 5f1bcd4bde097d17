"""Callbacks: what may happen beside the training."""

from .averages import SwapEMAWeights
from .backup import BackupAndRestore
from .base import Callback, CallbackList
from .checkpoint import ModelCheckpoint
from .history import History
from .logs import CSVLogger, LambdaCallback, TensorBoard, TerminateOnNaN
from .monitor import EarlyStopping, Monitor, ReduceLROnPlateau
from .progress import Progress
from .rates import LearningRateScheduler

__all__ = [
    "BackupAndRestore", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History",
    "LambdaCallback", "LearningRateScheduler", "ModelCheckpoint", "Monitor", "Progress",
    "ReduceLROnPlateau", "SwapEMAWeights", "TensorBoard", "TerminateOnNaN",
]  # fmt: skip
