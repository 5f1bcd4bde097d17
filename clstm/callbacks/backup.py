from __future__ import annotations

from typing import Any

from .._arrays import boolean, positive
from ..io import checkpoints
from .base import Callback, path_of, save_frequency


class BackupAndRestore(Callback):
    """Saves where the training stands, and goes on from there when it was interrupted.

    The same program, started again with the same data, ends with the same bits as if it had never
    stopped, on any number of threads: weights, optimizer, shuffling, dropout, schedules, callbacks
    and history. `fit(resume=folder)` is `BackupAndRestore(folder, delete_checkpoint=False)`.

    A checkpoint is one file, written beside, synced to the disk and renamed: a kill or a full disk
    leaves the ones before whole. An iterable x must give the same batches again; of an iterator all
    batches that were trained on are read and left out.

    Args:
        backup_dir: the folder, made if it is not there; for one training.
        save_freq: "epoch": after each epoch; or after so many batches.
        delete_checkpoint: remove the checkpoints when the training has ended. If they are kept, the
            next `fit` returns at once, or trains further if it is asked for more epochs.
        keep: how many checkpoints are kept, the last ones. Default 2.

    Raises:
        TypeError, ValueError: an argument is none of these. From `fit`, before anything changes:
            the folder is of another training, or all its checkpoints are damaged.
        OSError: from `fit`, a checkpoint cannot be written; those before are whole.
    """

    reads_batch_logs = False

    def __init__(
        self, backup_dir: Any, save_freq: str | int = "epoch", delete_checkpoint: bool = True,
        keep: int = 2,
    ):  # fmt: skip
        self.backup_dir = path_of("backup_dir", backup_dir)
        self.save_freq = save_frequency(save_freq)
        self.delete_checkpoint = boolean("delete_checkpoint", delete_checkpoint)
        self.keep = positive("keep", keep)
        self._epoch = self._seen = 0

    def open(self, run: Any, signature: dict[str, Any]) -> None:
        """Read the last checkpoint; ValueError if it is not of this `resume.Run`."""
        self._run, self._signature = run, signature
        checkpoints.prepare(self.backup_dir)
        self._found = checkpoints.newest(self.backup_dir)
        if self._found is not None:
            run.check(signature, self._found[0])

    def restore(self, epoch: int) -> tuple[int, int, dict[str, Any]]:
        """Set the state that was found: the epoch and batch to go on with, and the last logs.

        Called after on_train_begin; ValueError, before anything is set, for a callback's state that
        does not fit, or that cannot be written.
        """
        found, self._found = self._found, None
        if found is None:
            self._run.capture(self._signature, epoch, 0, {})
            return epoch, 0, {}
        self._run.check_callbacks(found[0])
        return self._run.restore(*found)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._seen += 1
        due = self.save_freq != "epoch" and self._seen % self.save_freq == 0
        if due and not self.model.stop_training:
            self._save(self._epoch, batch + 1, {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._save(epoch + 1, 0, logs or {})

    def _save(self, epoch: int, done: int, logs: dict[str, Any]) -> None:
        content, tensors = self._run.capture(self._signature, epoch, done, logs)
        checkpoints.save(self.backup_dir, epoch, done, content, tensors, self.keep)

    def end(self) -> None:
        """The training has ended as it should."""
        if self.delete_checkpoint:
            checkpoints.remove(self.backup_dir)
