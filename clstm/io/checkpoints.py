"""A folder of checkpoints of one training: each file whole or not there, the last ones kept."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from . import tensor_file

Array = np.ndarray
PATTERN = "checkpoint-*.safetensors"


def prepare(folder: Path) -> None:
    """Make the folder, and remove what an interrupted writer left there."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"resume: expected a folder, got the file {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(tensor_file.TEMPORARY):
        path.unlink(missing_ok=True)


def newest(folder: Path) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """The content and tensors of the last whole checkpoint; None if there is no file of one.

    Raises:
        ValueError: there are files, and all are damaged. Nothing else is an answer then: to begin
            anew would overwrite what may be mended.
    """
    paths = sorted(folder.glob(PATTERN), reverse=True)
    for path in paths:
        try:
            return tensor_file.load(path, tensor_file.CHECKPOINT)
        except ValueError as error:
            warnings.warn(f"resume: {error}; the checkpoint before it is tried", stacklevel=4)
    if paths:
        raise ValueError(f"resume: expected a whole checkpoint, got {len(paths)} damaged ones")
    return None


def save(
    folder: Path, epoch: int, done: int, content: dict[str, Any], tensors: dict[str, Array],
    keep: int,
) -> None:  # fmt: skip
    """Write the checkpoint before batch `done` of `epoch`, then remove all but the last `keep`."""
    path = folder / PATTERN.replace("*", f"{epoch:08d}-{done:010d}")
    tensor_file.save(path, tensor_file.CHECKPOINT, content, tensors)
    known = sorted(folder.glob(PATTERN))
    place = known.index(path)  # what comes after it was damaged: this training began before it
    for old in known[: max(0, place + 1 - keep)] + known[place + 1 :]:
        old.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove the checkpoints, and the folder if nothing else is there."""
    for path in folder.glob(PATTERN):
        path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
