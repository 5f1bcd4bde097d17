from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Callback

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(Callback):
    """What `fit` returns: `history["loss"]` and so on, one value for each epoch.

    `epoch` lists the epochs, from 0; a validation may be in some of them alone.
    """

    state_names = ("epoch", "history", "_epochs")

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}
        self._epochs: dict[str, list[int]] = {}  # of the values in `history`

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self._epochs.setdefault(name, []).append(epoch)

    def plot(self, path: Any = None) -> Figure:
        """Draw each quantity over the epochs, training and validation in one panel.

        path: where to save it too, as .png, .svg or .pdf; None saves nothing.

        Raises:
            ImportError: matplotlib, the extra `plot`, is not installed.
        """
        from .._history_plot import draw

        return draw(self._epochs, self.history, path)
