"""What a user passes to fit, evaluate and predict beside the data, and errors about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ._arrays import positive
from .callbacks import BackupAndRestore, Callback


def callback_list(callbacks: Any) -> list[Any]:
    """The callbacks of None, a callback, or a list of them."""
    if callbacks is None:
        return []
    if isinstance(callbacks, (list, tuple)):
        return list(callbacks)
    if isinstance(callbacks, Callback):
        return [callbacks]
    raise TypeError(f"callbacks: expected a list of callbacks, got {type(callbacks).__name__}")


def split_backup(
    callbacks: list[Any], resume: Any
) -> tuple[list[Any], BackupAndRestore | None]:
    """The callbacks but the one that saves where the training stands, and that one."""
    backups = [c for c in callbacks if isinstance(c, BackupAndRestore)]
    if resume is not None:
        backups.append(BackupAndRestore(resume, delete_checkpoint=False))
    if len(backups) > 1:
        raise ValueError("resume: expected one BackupAndRestore, or a folder instead, got more")
    return [c for c in callbacks if c not in backups], backups[0] if backups else None


def check_repeats(name: str, steps_name: str, x: Any, steps: int | None) -> None:
    """Raise ValueError for an iterator that would be empty, or never end, in the second epoch."""
    if isinstance(x, Iterator) and steps is None:
        raise ValueError(f"{steps_name}: expected a number of batches for several epochs of an "
                         f"iterator {name}, got None")  # fmt: skip


def due(frequency: Any) -> Callable[[int], bool]:
    """Whether an epoch, counted from 1, is followed by an evaluation, as a function."""
    if isinstance(frequency, (list, tuple, set)):
        epochs = {positive("validation_freq", epoch) for epoch in frequency}
        return epochs.__contains__
    every = positive("validation_freq", frequency)
    return lambda epoch: epoch % every == 0


def verbosity(verbose: int | str) -> int:
    """0, 1 or 2 of these and "auto"."""
    if verbose == "auto":
        return 1 if sys.stdout.isatty() else 2
    if not isinstance(verbose, (int, np.integer)) or verbose not in (0, 1, 2):
        raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
    return int(verbose)
